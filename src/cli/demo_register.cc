#include "cli/demo_register.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "cli/demo_words.h"

namespace ecluse::demo {

namespace {

// The random numbers of one unit of one table (splitmix64).
class Draw {
 public:
  Draw(const Shape& shape, std::string_view table, int64_t number) : state_(shape.seed * 0x9E3779B97F4A7C15u) {
    for (char c : table) state_ = Mix(state_ ^ static_cast<unsigned char>(c));
    state_ = Mix(state_ ^ static_cast<uint64_t>(number));
  }
  uint64_t Next() { return Mix(state_ += 0x9E3779B97F4A7C15u); }
  int64_t Below(int64_t n) {
    return static_cast<int64_t>(static_cast<unsigned __int128>(Next()) * static_cast<uint64_t>(n) >> 64);
  }
  int64_t From(int64_t low, int64_t high) { return low + Below(high - low + 1); }
  bool Chance(int percent) { return Below(100) < percent; }
  // Small numbers far more often than large ones, as names are spread.
  int64_t Skewed(int64_t n) { return Below(Below(n) + 1); }

 private:
  static uint64_t Mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
  }
  uint64_t state_;
};

template <typename... Args>
void Put(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

void PutHex(std::string& out, Draw& draw, int words) {
  out += "\\\\x";
  for (int i = 0; i < words; ++i) Put(out, "{:016x}", draw.Next());
}

std::string Date(Draw& draw, int first_year, int last_year) {
  int64_t year = draw.From(first_year, last_year);
  int64_t month = draw.From(1, 12);
  return fmt::format("{}-{:02}-{:02}", year, month, draw.From(1, 28));
}
std::string Time(Draw& draw, int first_year, int last_year) {
  std::string day = Date(draw, first_year, last_year);
  int64_t hour = draw.Below(24), minute = draw.Below(60);
  return fmt::format("{} {:02}:{:02}:{:02}+00", day, hour, minute, draw.Below(60));
}

struct Identity {
  char sex;
  int year, month, day;
  std::string family_name;
  std::string_view given_name;
  size_t town;
};

// Communes that no department has, in the departments 01 to 19 and 21 to 95, times the numbers within one.
constexpr int64_t kBirthplaces = 94 * 50;
constexpr int64_t kNirBlock = kBirthplaces * 1'000;

Identity IdentityOf(const Shape& shape, std::string_view table, int64_t id) {
  Draw draw(shape, table, id);
  Identity who;
  who.sex = draw.Chance(22) ? 'F' : 'M';
  // Years modulo 4 tell the blocks of NIRs apart; see Nir().
  who.year = static_cast<int>(1944 + 4 * draw.Below(16) + (id - 1) / kNirBlock % 4);
  who.month = static_cast<int>(draw.From(1, 12));
  who.day = static_cast<int>(draw.From(1, 28));
  who.family_name = FamilyName(static_cast<size_t>(draw.Skewed(static_cast<int64_t>(FamilyNames()))));
  auto names = GivenNames(who.sex);
  who.given_name = names[static_cast<size_t>(draw.Below(static_cast<int64_t>(names.size())))];
  who.town = static_cast<size_t>(draw.Skewed(static_cast<int64_t>(Towns())));
  return who;
}

std::string NirOf(const Identity& who, int64_t id) {
  // A bijection within the block: neighbours in id are not neighbours in birthplace.
  int64_t spread = (id - 1) % kNirBlock * 3'141'593 % kNirBlock;
  int64_t department = spread / 50'000 + 1;
  if (department >= 20) ++department;
  int64_t commune = 950 + spread / 1'000 % 50;
  int64_t digits = who.sex == 'M' ? 1 : 2;
  digits = digits * 100 + who.year % 100;
  digits = digits * 100 + who.month;
  digits = digits * 100 + department;
  digits = digits * 1'000 + commune;
  digits = digits * 1'000 + spread % 1'000;
  return fmt::format("{:013}{:02}", digits, 97 - digits % 97);
}

int PersonRows(const Shape& shape, int64_t id, std::string& out) {
  Identity who = IdentityOf(shape, "person", id);
  Draw draw(shape, "photo", id);
  Put(out, "{}\t{}\t{}\t{}\t{}-{:02}-{:02}\t{}\t{}\t", id, NirOf(who, id), who.family_name, who.given_name, who.year,
      who.month, who.day, TownName(who.town), who.sex);
  if (draw.Chance(70)) {
    PutHex(out, draw, 8);
  } else {
    out += "\\N";
  }
  out += '\n';
  return 1;
}

int CaseRows(const Shape& shape, int64_t id, std::string& out) {
  Draw draw(shape, "case", id);
  const Offence& offence = Offences()[static_cast<size_t>(draw.Skewed(static_cast<int64_t>(Offences().size())))];
  std::string opened = Date(draw, 2008, 2025);
  std::string town = TownName(static_cast<size_t>(draw.Below(static_cast<int64_t>(Towns()))));
  Put(out, "{}\t{}\t{}\t{}, {}, dossier {}\n", id, opened, offence.code, offence.label, town, draw.From(1000, 9999));
  return 1;
}

int InvolvementRows(const Shape& shape, int64_t person, std::string& out) {
  constexpr int kMost = 4;
  Draw draw(shape, "involvement", person);
  int rows = 1;
  while (rows < kMost && draw.Chance(35)) ++rows;
  for (int i = 0; i < rows; ++i) {
    // Everybody's first involvement goes round the cases, so that every case is about somebody.
    int64_t which = i == 0 ? (person - 1) % shape.cases() + 1 : draw.From(1, shape.cases());
    int64_t role = draw.Below(100), outcome = draw.Below(100);
    Put(out, "{}\t{}\t{}\t{}\t{}\t{}\n", (person - 1) * kMost + i + 1, person, which,
        role < 55   ? "suspect"
        : role < 85 ? "victim"
                    : "witness",
        outcome < 30   ? "open"
        : outcome < 75 ? "judged"
                       : "closed_without_action",
        Time(draw, 2008, 2025));
  }
  return rows;
}

constexpr int64_t kPeoplePerNotice = 50;
int64_t Notices(const Shape& shape) { return (shape.subjects + kPeoplePerNotice - 1) / kPeoplePerNotice; }

int NoticeRows(const Shape& shape, int64_t id, std::string& out) {
  Draw draw(shape, "notice", id);
  constexpr std::array kKinds = {"arrest", "discreet check", "missing person", "travel ban", "debtor to the treasury"};
  int64_t first = (id - 1) * kPeoplePerNotice + 1;
  int64_t last = std::min(shape.subjects, id * kPeoplePerNotice);
  int64_t person = draw.From(first, last);
  const char* kind = kKinds[static_cast<size_t>(draw.Skewed(static_cast<int64_t>(kKinds.size())))];
  std::string_view service = Service(draw.Next());
  std::string issued = Date(draw, 2019, 2025);
  Put(out, "{}\t{}\t{}\t{}\tXX{:010}.{:02}\t{}\t{}\n", id, person, kind, service, id * 7'919, id % 97, issued,
      Date(draw, 2027, 2031));
  return 1;
}

int VehicleRows(const Shape& shape, int64_t id, std::string& out) {
  Draw draw(shape, "vehicle", id);
  constexpr std::array kMakes = {"Arvenne", "Belline", "Corvo", "Dauphin", "Estafette", "Fregat"};
  constexpr std::array kColours = {"white", "black", "grey", "blue", "red", "green"};
  constexpr std::array kReasons = {"stolen", "used in an offence", "wanted driver", "uninsured"};
  const char* make = kMakes[static_cast<size_t>(draw.Below(kMakes.size()))];
  const char* colour = kColours[static_cast<size_t>(draw.Below(kColours.size()))];
  const char* reason = kReasons[static_cast<size_t>(draw.Skewed(kReasons.size()))];
  Put(out, "{}\t{}\t{}\t{}\t{}\tXV{:010}\t{}\n", id, Plate(id * 100 - 50), make, colour, reason, id * 7'907,
      Date(draw, 2020, 2025));
  return 1;
}

int OwnerRows(const Shape& shape, int64_t id, std::string& out) {
  Identity who = IdentityOf(shape, "owner", id);
  Put(out, "{}\t{}\t{}\t{}-{:02}-{:02}\t{}\n", id, who.family_name, who.given_name, who.year, who.month, who.day,
      TownName(who.town));
  return 1;
}

int AddressRows(const Shape& shape, int64_t id, std::string& out) {
  Draw draw(shape, "address", id);
  size_t town = static_cast<size_t>(draw.Skewed(static_cast<int64_t>(Towns())));
  int64_t house = draw.From(1, 180);
  std::string_view street = Street(draw.Next());
  int64_t telephone = draw.Below(10'000);
  // Random: a number would tell whose it is by its order.
  const uint64_t high = draw.Next(), low = draw.Next();
  Put(out, "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}\t", high >> 32, (high >> 16) & 0xffff, high & 0xfff, low >> 52,
      low & 0xffff'ffff'ffff);
  Put(out, "{}\t{} {}\t{}\t{}\t06 39 98 {:02} {:02}\n", id, house, street, TownCode(town), TownName(town),
      telephone / 100, telephone % 100);
  return 1;
}

int FirearmRows(const Shape& shape, int64_t owner, std::string& out) {
  constexpr int kMost = 3;
  constexpr std::array kMakes = {"Arbalon", "Bressac", "Forgefer", "Hautelune", "Manuval"};
  constexpr std::array kCalibres = {"12", "20", ".22 LR", "7x64", ".300", "9 mm"};
  Draw draw(shape, "firearm", owner);
  int rows = 1;
  while (rows < kMost && draw.Chance(45)) ++rows;
  for (int i = 0; i < rows; ++i) {
    int64_t id = (owner - 1) * kMost + i + 1;
    const char* category = draw.Chance(80) ? "C" : "B";
    const char* make = kMakes[static_cast<size_t>(draw.Below(kMakes.size()))];
    const char* calibre = kCalibres[static_cast<size_t>(draw.Below(kCalibres.size()))];
    Put(out, "{}\t{}\tF{:09}\t{}\t{}\t{}\n", id, owner, id * 61 % 999'999'937, category, make, calibre);
  }
  return rows;
}

int PermitRows(const Shape& shape, int64_t id, std::string& out) {
  constexpr std::array kKinds = {"hunting", "sport", "collection"};
  Draw draw(shape, "permit", id);
  int64_t year = draw.From(2019, 2025);
  int64_t month = draw.From(1, 12);
  int64_t day = draw.From(1, 28);
  const char* kind = kKinds[static_cast<size_t>(draw.Skewed(kKinds.size()))];
  int64_t status = draw.Below(100);
  Put(out, "{}\t{}\t{}\t{}-{:02}-{:02}\t{}-{:02}-{:02}\t{}\n", id, id, kind, year, month, day, year + 5, month, day,
      status < 88   ? "valid"
      : status < 96 ? "expired"
                    : "withdrawn");
  return 1;
}

int SightingRows(const Shape& shape, int64_t id, std::string& out) {
  Draw draw(shape, "sighting", id);
  std::string_view camera = Camera(draw.Next());
  std::string plate = Plate(draw.From(1, shape.subjects));
  const std::chrono::year_month_day day{shape.today - std::chrono::days(draw.From(1, kSightingDays))};
  const int64_t at[] = {draw.Below(24), draw.Below(60), draw.Below(60)};
  Put(out, "{}\t{}\t{}\t{}-{:02}-{:02} {:02}:{:02}:{:02}+00\t", id, plate, camera, static_cast<int>(day.year()),
      static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()), at[0], at[1], at[2]);
  PutHex(out, draw, 2);
  out += '\n';
  return 1;
}

int OffenceRows(const Shape&, int64_t number, std::string& out) {
  const Offence& offence = Offences()[static_cast<size_t>(number - 1)];
  Put(out, "{}\t{}\t{}\t{}\n", offence.code, offence.label, offence.kind, offence.max_months);
  return 1;
}

int TownRows(const Shape& shape, int64_t number, std::string& out) {
  Draw draw(shape, "town", number);
  auto town = static_cast<size_t>(number - 1);
  Put(out, "{}\t{}\t{}\t{}\n", TownCode(town), TownName(town), Department(town), draw.From(200, 120'000));
  return 1;
}

constexpr Table kTables[] = {
    {"taj.person", "person_id, nir, family_name, given_name, birth_date, birth_place, sex, photo",
     [](const Shape& shape) { return shape.subjects; }, PersonRows},
    {"lapi.sighting", "sighting_id, plate, camera, seen_at, biometric_hash",
     [](const Shape& shape) { return shape.subjects * 2; }, SightingRows},
    {"taj.involvement", "involvement_id, person_id, case_id, role, outcome, recorded_at",
     [](const Shape& shape) { return shape.subjects; }, InvolvementRows},
    {"taj.\"case\"", "case_id, opened, offence_code, summary", [](const Shape& shape) { return shape.cases(); },
     CaseRows},
    {"sia.firearm", "firearm_id, owner_id, serial, category, make, calibre",
     [](const Shape& shape) { return shape.owners(); }, FirearmRows},
    {"sia.address", "address_id, owner_id, street, postcode, town, telephone",
     [](const Shape& shape) { return shape.owners(); }, AddressRows},
    {"sia.owner", "owner_id, family_name, given_name, birth_date, birth_place",
     [](const Shape& shape) { return shape.owners(); }, OwnerRows},
    {"sia.permit", "permit_id, owner_id, kind, issued, expires, status",
     [](const Shape& shape) { return shape.owners(); }, PermitRows},
    {"fpr.notice", "notice_id, person_id, kind, issuing_service, alert_id, issued, expires", Notices, NoticeRows},
    {"fpr.vehicle", "vehicle_id, plate, make, colour, reason, alert_id, reported",
     [](const Shape& shape) { return (shape.subjects + 99) / 100; }, VehicleRows},
    {"ref.town", "code, name, department, population", [](const Shape&) { return static_cast<int64_t>(Towns()); },
     TownRows},
    {"ref.offence", "code, label, kind, max_months",
     [](const Shape&) { return static_cast<int64_t>(Offences().size()); }, OffenceRows},
};

}  // namespace

int64_t Shape::cases() const { return std::max<int64_t>(1, subjects * 3 / 4); }
int64_t Shape::owners() const { return std::max<int64_t>(1, subjects / 4); }

std::span<const Table> Tables() { return kTables; }

std::string Nir(const Shape& shape, int64_t id) { return NirOf(IdentityOf(shape, "person", id), id); }

std::string Plate(int64_t number) {
  constexpr std::string_view kNeverUsed = "IOU";
  int64_t spread = number * 7'368'787 % 52'728'000;  // 3 * 26^3 * 1000 plates; the factor shares none with it
  auto letter = [&spread] {
    char c = static_cast<char>('A' + spread % 26);
    spread /= 26;
    return c;
  };
  int64_t digits = spread % 1'000;
  spread /= 1'000;
  char second = letter(), third = letter(), fourth = letter();
  return fmt::format("{}{}-{:03}-{}{}", kNeverUsed[static_cast<size_t>(spread)], second, digits, third, fourth);
}

}  // namespace ecluse::demo
