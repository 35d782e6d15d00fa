// Every limit of the gate, named, in one place. Sizes in bytes, times in the unit of the name.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ecluse::limits {

using namespace std::chrono_literals;

// Wire protocol (pgwire/).
inline constexpr size_t kStartupMessage = 10'000;             // PostgreSQL's own MAX_STARTUP_PACKET_LENGTH
inline constexpr size_t kAuthMessage = 64 * 1024;             // password and SASL messages
inline constexpr size_t kClientMessage = 64 * 1024 * 1024;    // any message of an authenticated client
inline constexpr size_t kUpstreamMessage = 64 * 1024 * 1024;  // one row from PostgreSQL, its subjects included
inline constexpr size_t kCancelKey = 256;
inline constexpr size_t kReadChunk = 16 * 1024;
inline constexpr size_t kIdleBuffer = 4 * 1024;        // what an idle session may keep
inline constexpr size_t kPooledBuffers = 64;           // spare read and write buffers a thread keeps, each
inline constexpr size_t kPooledOut = 64 * 1024;        // largest write buffer worth keeping
inline constexpr size_t kWriteHighWater = 256 * 1024;  // flush to the client above this
inline constexpr size_t kResultColumns = 1'664;        // PostgreSQL's MaxTupleAttributeNumber
inline constexpr size_t kParameters = 65'535;
inline constexpr size_t kLiftedLiterals = 64;  // of a simple text, taken for parameters so that texts share a plan

// Before authentication (server/, identity/).
inline constexpr auto kAuthenticationTime = 15s;
inline constexpr size_t kUnauthenticated = 1'000;  // over all addresses; the oldest is closed for a newcomer
inline constexpr size_t kUnauthenticatedPerAddress = 100;
inline constexpr size_t kSessions = 20'000;
inline constexpr size_t kSessionsPerAddress = 10'000;
inline constexpr int kScramIterations = 4'096;  // PostgreSQL's default
inline constexpr int kScramIterationsMax = 1'000'000;
inline constexpr size_t kScramNonce = 256;
inline constexpr int kFailedLoginsPerAccount = 10;  // in kLockoutWindow, then refused until it has passed
inline constexpr int kFailedLoginsPerAddress = 50;
inline constexpr size_t kPasswordBytes = 8;                 // shortest password ecluse account takes
inline constexpr size_t kFailedLoginsKept = 100'000;        // names, and addresses, whose failures are remembered
inline constexpr size_t kAccountsBytes = 64 * 1024 * 1024;  // the accounts file
inline constexpr auto kLockoutWindow = 5min;

// The root key (vault/).
inline constexpr size_t kTokenRoots = 16;            // root keys of ours in one token
inline constexpr size_t kPassphraseCharacters = 12;  // shortest passphrase of a root key
inline constexpr unsigned kScryptLogN = 17;          // cost of trying one: 128 MiB and about half a second
inline constexpr unsigned kScryptLogNMost = 21;

// Sealed values (vault/).
inline constexpr size_t kSealedJsonDepth = 100;              // arrays and objects within one another
inline constexpr size_t kSealedJsonBytes = 8 * 1024 * 1024;  // of a jsonb as it is printed
inline constexpr size_t kSearchedText = 64 * 1024;           // bytes of a text that is found by its spelling or sound
inline constexpr size_t kRingBytes = 4 * 1024 * 1024;        // the file of wrapped keys: some 7,000 compartments
inline constexpr size_t kGenerationsBytes = 64 * 1024;       // the file of root generations: two or three

// Statements (plan/).
inline constexpr size_t kStatementBytes = 1024 * 1024;
inline constexpr size_t kStatementTokens = 100'000;
inline constexpr size_t kStatementNesting = 200;  // parentheses, brackets, CASE
inline constexpr size_t kOperatorChain = 2'000;   // tokens of one expression at one level: the parse tree's depth
inline constexpr size_t kParseStack = 64 * 1024 * 1024;
inline constexpr int kParseThreads = 2;
inline constexpr int kProtobufDepth = 20'000;
inline constexpr size_t kPlanCacheBytes = 64 * 1024 * 1024;
inline constexpr size_t kRelationsPerStatement = 64;
inline constexpr size_t kHiddenColumns = 512;             // of one query level, for the people in its rows
inline constexpr size_t kSplicedBytes = 4 * 1024 * 1024;  // of hidden columns in one statement
inline constexpr size_t kSetArms = 64;
inline constexpr size_t kAskedValues = 10'000;  // constants and parameters that name people in one statement
inline constexpr size_t kReference = 1'024;     // bytes of a purpose or reference
inline constexpr size_t kPreparedPerSession = 1'000;
inline constexpr size_t kPipelineReplies = 1'000;  // owed to a client before they are waited for
inline constexpr size_t kCursorsPerSession = 100;
inline constexpr size_t kPortalsPerSession = 1'000;
inline constexpr size_t kUnfinishedPortals = 100;           // charged, never executed, and not yet written down
inline constexpr size_t kLongMessage = 64 * 1024;           // bytes of a Parse or Bind from which all kept are counted
inline constexpr size_t kPreparedBytes = 16 * 1024 * 1024;  // of a session's prepared texts, where one is long
inline constexpr size_t kPortalBytes = 16 * 1024 * 1024;    // of a session's bound values beside a long Bind

// Delivery (deliver/).
inline constexpr size_t kReleaseBatchBytes = 256 * 1024;  // rows held for one ledger entry
inline constexpr size_t kReleaseBatchRows = 1'000;
inline constexpr auto kReleaseAfter = 20ms;  // rows that are held go once PostgreSQL has been silent for this long
inline constexpr size_t kSubjectsPerRow = 1'000'000;
inline constexpr size_t kCompartmentName = 32;          // bytes; part of a domain's name
inline constexpr size_t kSubjectId = 512;               // bytes of one person's id as text
inline constexpr size_t kHeldRows = 10'000;             // of a result that is judged as a whole
inline constexpr size_t kHeldBytes = 16 * 1024 * 1024;  // of the same

// Budgets (admit/).
inline constexpr int kWindowSlices = 1'024;      // of a window of lookups, failures or statistic rows
inline constexpr size_t kRebuildTokens = 4'096;  // people resolved at once while budgets are rebuilt
inline constexpr size_t kPayersSwept = 1'024;    // payers kept before those without anything counted are dropped

// Ledger (ledger/).
inline constexpr size_t kEntry = 65'535;
inline constexpr size_t kStatementText = 8 * 1024;
inline constexpr size_t kEntrySubjects = 700;       // tokens in one entry, so that it stays under kEntry
inline constexpr size_t kEntryMember = 1'024;       // who, why, reference: each, as written in an entry
inline constexpr size_t kEntryLiterals = 8 * 1024;  // literals kept in one entry; the rest is hashed
inline constexpr size_t kEntrySealed = 28 * 1024;   // subjects and literals of one entry, as written before sealing
inline constexpr size_t kLedgerGroup = 8 * 1024 * 1024;  // bytes of one write and sync
inline constexpr size_t kNamesShown = 20'000;            // of people, kept while a ledger is read
inline constexpr size_t kFacetsKept = 4'096;             // accounts, addresses, roles whose key the index remembers
inline constexpr auto kFollowEvery = 200ms;              // between looks of `ecluse ledger show --follow`
inline constexpr auto kIndexEvery = 200ms;               // between rounds of the index
inline constexpr size_t kIndexPut = 50'000;              // places of entries, and other rows, written to it at once
inline constexpr size_t kIndexFill = 1'000'000;          // the same while it is made again, as one sorted file
inline constexpr size_t kPlacesTogether = 1'000;         // entries that one row of it tells of
inline constexpr size_t kUsualRead = 4 * 1024;           // of an entry whose length is not known yet
inline constexpr unsigned kReaders = 8;                  // threads that read entries which lie scattered
inline constexpr size_t kReadTogether = 2'048;           // entries that they hold
inline constexpr size_t kIndexBacklog = 1'000'000;  // entries and people that wait for it before it reads them again
inline constexpr size_t kProvedTogether = 1'000;    // proofs made from the tiles that are kept in memory
inline constexpr size_t kDossierShown = 10'000;     // people listed in a dossier's HTML; CSV and JSON hold all
inline constexpr size_t kPeopleCache = 1 << 20;     // people whose token is kept in memory
inline constexpr size_t kWrappedTogether = 10'000;  // people's keys that a new root generation wraps at once
inline constexpr auto kGenerationCheck = std::chrono::seconds(60);  // between looks whether one is due
inline constexpr size_t kErasureReason = 512;                       // bytes
inline constexpr auto kErasureHorizonLeast = std::chrono::seconds(10);
inline constexpr auto kErasureHorizonMost = std::chrono::seconds(400 * 86'400);
inline constexpr auto kClockDivergence = 5s;  // of the wall clock from the boot clock, before release stops
inline constexpr auto kClockCheck = 1s;       // between looks at the clocks while nothing is written
inline constexpr size_t kLedgerSegment = 16 * 1024 * 1024;
inline constexpr size_t kLedgerQueue = 64 * 1024 * 1024;  // bytes waiting for the writer before appends wait
inline constexpr size_t kNodeName = 255;                  // of the gate, in its ledger's origin
inline constexpr auto kCheckpointEveryMax = std::chrono::seconds(3'600);
inline constexpr size_t kTilesUnsynced = 256;            // open at once before a sync
inline constexpr uint64_t kTreeRound = 65'536;           // entries hashed for one checkpoint
inline constexpr uint64_t kTreeRoom = 16 * 1024 * 1024;  // with less of it free, a failed write of tiles is tried again
inline constexpr size_t kReserveBytes = 4 * 1024 * 1024;  // disk kept for locks, key operations, alerts and approvals

inline constexpr size_t kRemoving =
    size_t{4} * 1024 * 1024 * 1024;                           // bytes that say what is being removed: 23 a person
inline constexpr size_t kPostgresRecord = 256 * 1024 * 1024;  // of PostgreSQL's log, which holds whole statements

// Notes, checkpoints and proofs (tlog/).
inline constexpr size_t kNote = 64 * 1024;
inline constexpr size_t kNoteSignatures = 64;

// Running (server/).
inline constexpr auto kDrain = 30s;             // transactions may take this long to end when the gate stops
inline constexpr auto kLockWait = 10s;          // for the register's lock at start
inline constexpr auto kCheckpointWait = 5s;     // for the register's database to take a checkpoint
inline constexpr auto kCheckpointLogged = 60s;  // between checkpoints that go to the log
inline constexpr size_t kWitnesses = 15;
inline constexpr auto kWitnessEvery = 10s;       // between questions to witnesses, where something is new
inline constexpr auto kWitnessJudged = 500ms;    // between looks whether a cosignature is overdue
inline constexpr int kWitnessSlack = 10;         // a grace is at least so many times checkpoint_every
inline constexpr auto kWitnessAnswer = 10s;      // for a witness's answer
inline constexpr auto kWitnessClock = 30s;       // between a cosignature's time and ours
inline constexpr auto kWitnessGraceLeast = 10s;  // that a policy may give
inline constexpr auto kWitnessWaiver = std::chrono::seconds(4 * 3'600);
inline constexpr size_t kReason = 4 * 1024;           // bytes that people give for what they approve
inline constexpr int kControlRequests = 4;            // at once; more are not listened to
inline constexpr size_t kControlRequest = 64 * 1024;  // bytes that a command sends a running gate
inline constexpr size_t kControlText = 256 * 1024;    // bytes that it is answered
inline constexpr size_t kValueKeysAsked = 1'500;      // people whose keys a command asks for at once; fits into both
inline constexpr auto kControlAnswer = 60s;           // that a command waits for the gate
inline constexpr auto kErasureWait = 40s;             // that an erasure waits for the ledger and its index; below that
inline constexpr auto kErasureLook = 100ms;           // between looks whether the ledger has failed meanwhile
inline constexpr auto kControlWait = 10s;             // for a request, and for its answer to be taken
inline constexpr auto kLockCheck = 2s;                // between looks whether it is still held, and for the answer

// Policy (policy/).
inline constexpr size_t kPolicyBytes = 4 * 1024 * 1024;
inline constexpr size_t kPolicyDepth = 16;            // maps and lists inside one another
inline constexpr int64_t kBudgetMax = 1'000'000'000;  // people, lookups or failures of one budget
inline constexpr auto kBudgetWindowMax = std::chrono::seconds(400 * 86'400);
inline constexpr auto kDurationMax = std::chrono::seconds(100LL * 365 * 86'400);
inline constexpr size_t kRolesMax = 200;
inline constexpr size_t kGuardedTables = 5'000;
inline constexpr size_t kIdentifier = 63;          // PostgreSQL's NAMEDATALEN - 1
inline constexpr size_t kSealedColumnName = 50;    // bytes: `__sealed_` before it, or `__bidx_` and `_r63`, fit a name
inline constexpr int64_t kRangeBlocks = 256;       // of the highest level of a range index
inline constexpr uint64_t kSealBatchRows = 1'000;  // that `ecluse seal` moves at a time
inline constexpr uint64_t kSealBatchBytes = 8 * 1024 * 1024;
inline constexpr auto kSealLock = 10s;                 // that it waits for the tables
inline constexpr int kReencryptPasses = 20;            // over a table, before values under a former key are no accident
inline constexpr size_t kLoadRow = 16 * 1024 * 1024;   // bytes of a row that `ecluse load` reads
inline constexpr size_t kLoadBlock = 4 * 1024 * 1024;  // that it reads at a time, and knows again by a hash
inline constexpr size_t kLoadBatchRows = 5'000;        // that it writes in one transaction
inline constexpr size_t kLoadBatchBytes = 8 * 1024 * 1024;  // of the file, from which a batch is full
inline constexpr unsigned kPrefixCharacters = 16;           // of a prefix index, each with a column of its own
inline constexpr size_t kRetainBatchRows = 500;             // that `ecluse retain` deletes in one transaction
inline constexpr auto kRetainLock = 2s;    // that it waits for others' locks; then it leaves the batch for later
inline constexpr int kRetainTimeouts = 3;  // batches one after the other that met such locks, before it gives up
inline constexpr auto kRetainClock = 60s;  // between the database's clock and ours, when rows are called old
inline constexpr size_t kDeletionPeople = 12 * 1024;  // bytes of ids in one request to write a deletion down
inline constexpr auto kDailyDue =
    std::chrono::hours(26);  // since `retain` or `shuffle` went through a table: one run a day
inline constexpr size_t kDailyNoteBytes = 16 * 1024 * 1024;   // the note of when it did
inline constexpr auto kDailyWarned = std::chrono::hours(24);  // between warnings of the gate that one is due

// Upstream (execute/).
inline constexpr size_t kUpstreamPerRole = 80;
inline constexpr auto kSessionKeepsUpstream = 5s;  // an idle session with settings gives its connection back after this
inline constexpr auto kCancelPoll = 5ms;           // between looks whether a cancel request has been delivered
inline constexpr auto kUpstreamWait = 10s;
inline constexpr auto kUpstreamConnect = 10s;
inline constexpr size_t kUpstreamStatements = 500;  // prepared on one upstream connection, least used closed first
inline constexpr size_t kUpstreamStatementText = 16 * 1024;  // longer texts are prepared anew each time
inline constexpr auto kUpstreamFresh =
    50ms;                                   // used so lately that looking whether it still lives would tell nothing new
inline constexpr auto kUpstreamClean = 5s;  // to clean or cancel a connection that comes back
inline constexpr auto kUpstreamIdle = 5min;  // an idle upstream connection is closed after this

}  // namespace ecluse::limits
