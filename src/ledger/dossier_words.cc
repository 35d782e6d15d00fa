#include "ledger/dossier_words.h"

#include <fmt/format.h>

#include "base/time_text.h"

namespace ecluse {
namespace {

constexpr DossierWords kEnglish{
    .language = "en",
    .title = "Personal data breach: dossier",
    .lead = "Made from the ledger of the register {} on {}. To be completed where the background is coloured.",
    .question = "What was asked",
    .account = "Account",
    .organisation = "Organisation",
    .role = "Role",
    .address = "Address",
    .period = "Period",
    .from_start = "the ledger's beginning",
    .to_end = "its end",
    .nature = "1. Nature of the breach",
    .nature_law = "GDPR Article 33(3)(a); Directive (EU) 2016/680 Article 30(3)(a)",
    .subjects = "People of whom records were released, or may have been",
    .asked = "People who were only asked for, and of whom nothing was there to release",
    .records = "Records released",
    .entries = "Entries of the ledger",
    .first = "First",
    .last = "Last",
    .refusals = "Requests refused",
    .statistics = "Rows of statistics that single nobody out",
    .categories = "Categories of data",
    .clear = "people, in clear",
    .masked = "people, masked",
    .unknown = "columns the policy no longer names",
    .space = "Categories of people",
    .count = "people",
    .line = "Time line",
    .line_caption = "People seen for the first time, in slices of {} from {} (UTC).",
    .newly = "newly seen",
    .purposes = "Purposes given",
    .references = "References given",
    .addresses = "Addresses",
    .contact = "2. Contact point",
    .contact_law = "GDPR Article 33(3)(b); Directive (EU) 2016/680 Article 30(3)(b)",
    .contact_fill = "Name and contact details of the data protection officer, or of who can tell more:",
    .consequences = "3. Likely consequences",
    .consequences_law = "GDPR Article 33(3)(c); Directive (EU) 2016/680 Article 30(3)(c)",
    .consequences_fill = "Assessment for the people concerned:",
    .measures = "4. Measures taken or proposed",
    .measures_law = "GDPR Article 33(3)(d); Directive (EU) 2016/680 Article 30(3)(d)",
    .measures_fill = "Further measures, and how the people concerned are told:",
    .no_lock = "The ledger holds no lock of the account in question.",
    .evidence = "5. Evidence",
    .evidence_text =
        "The ledger {} was read whole up to entry {}. This checkpoint is signed over {} of its entries; "
        "with it and the ledger's verifier key anyone can check the entries behind this dossier.",
    .no_checkpoint = "No checkpoint has been signed over this ledger yet.",
    .limits = "6. What the ledger cannot tell",
    .people = "7. The people concerned",
    .people_more = "The first {} of {}. All of them stand in the CSV and JSON files.",
    .subject = "Person",
    .seen = "First and last",
    .fields = "What was shown",
    .existence = "no value; a refused request may have told that there is a record",
    .changed = "changed",
};

constexpr DossierWords kFrench{
    .language = "fr",
    .title = "Violation de données à caractère personnel : dossier",
    .lead = "Établi d'après le journal du fichier {} le {}. À compléter là où le fond est coloré.",
    .question = "Ce qui a été demandé",
    .account = "Compte",
    .organisation = "Organisation",
    .role = "Rôle",
    .address = "Adresse",
    .period = "Période",
    .from_start = "le début du journal",
    .to_end = "sa fin",
    .nature = "1. Nature de la violation",
    .nature_law =
        "RGPD, article 33, paragraphe 3, point a) ; directive (UE) 2016/680, article 30, paragraphe 3, point a)",
    .subjects = "Personnes dont des enregistrements ont été communiqués, ou ont pu l'être",
    .asked = "Personnes seulement recherchées, dont il n'y avait rien à communiquer",
    .records = "Enregistrements communiqués",
    .entries = "Entrées du journal",
    .first = "Première",
    .last = "Dernière",
    .refusals = "Demandes refusées",
    .statistics = "Lignes de statistiques qui n'isolent personne",
    .categories = "Catégories de données",
    .clear = "personnes, en clair",
    .masked = "personnes, masquées",
    .unknown = "colonnes que la politique ne nomme plus",
    .space = "Catégories de personnes",
    .count = "personnes",
    .line = "Chronologie",
    .line_caption = "Personnes vues pour la première fois, par tranches de {} à partir du {} (UTC).",
    .newly = "vues pour la première fois",
    .purposes = "Finalités invoquées",
    .references = "Références invoquées",
    .addresses = "Adresses",
    .contact = "2. Point de contact",
    .contact_law =
        "RGPD, article 33, paragraphe 3, point b) ; directive (UE) 2016/680, article 30, paragraphe 3, point b)",
    .contact_fill = "Nom et coordonnées du délégué à la protection des données, ou de qui peut renseigner :",
    .consequences = "3. Conséquences probables",
    .consequences_law =
        "RGPD, article 33, paragraphe 3, point c) ; directive (UE) 2016/680, article 30, paragraphe 3, point c)",
    .consequences_fill = "Appréciation pour les personnes concernées :",
    .measures = "4. Mesures prises ou proposées",
    .measures_law =
        "RGPD, article 33, paragraphe 3, point d) ; directive (UE) 2016/680, article 30, paragraphe 3, point d)",
    .measures_fill = "Autres mesures, et manière d'informer les personnes concernées :",
    .no_lock = "Le journal ne contient aucun verrouillage du compte en question.",
    .evidence = "5. Preuves",
    .evidence_text =
        "Le journal {} a été lu en entier jusqu'à l'entrée {}. Ce point de contrôle est signé sur {} de "
        "ses entrées ; avec lui et la clé de vérification du journal, chacun peut vérifier les entrées "
        "sur lesquelles repose ce dossier.",
    .no_checkpoint = "Aucun point de contrôle n'a encore été signé sur ce journal.",
    .limits = "6. Ce que le journal ne peut pas dire",
    .people = "7. Les personnes concernées",
    .people_more = "Les {} premières sur {}. Toutes figurent dans les fichiers CSV et JSON.",
    .subject = "Personne",
    .seen = "Première et dernière fois",
    .fields = "Ce qui a été montré",
    .existence = "aucune valeur ; une demande refusée a pu révéler qu'un enregistrement existe",
    .changed = "modifiée",
};

constexpr Consequence kConsequences[] = {
    {"identity", "Names and civil status let others pass for a person.",
     "Noms et état civil permettent de se faire passer pour quelqu'un."},
    {"identifier", "A national identifier opens other files, and does not change.",
     "Un identifiant national ouvre d'autres fichiers, et ne change pas."},
    {"contact", "Addresses and numbers can be used for harassment, fraud, or to find somebody who hides.",
     "Adresses et numéros peuvent servir au harcèlement, à l'escroquerie, ou à retrouver qui se cache."},
    {"biometric", "Biometric data cannot be replaced once known.",
     "Des données biométriques connues ne se remplacent pas."},
    {"judicial", "Knowledge of proceedings can harm reputation, employment and the presumption of innocence.",
     "Connaître une procédure peut nuire à la réputation, à l'emploi et à la présomption d'innocence."},
    {"health", "Health data can lead to discrimination and breaks professional secrecy.",
     "Des données de santé peuvent mener à des discriminations et rompent le secret professionnel."},
    {"permit", "Who is known to hold weapons may be burgled or threatened for them.",
     "Qui est connu pour détenir des armes peut être cambriolé ou menacé pour elles."},
};

}  // namespace

const DossierWords& WordsOf(Language language) { return language == Language::en ? kEnglish : kFrench; }

std::span<const Consequence> Consequences() { return kConsequences; }

std::vector<std::string> DossierLimits(const Dossier& dossier, Language language) {
  const bool en = language == Language::en;
  std::vector<std::string> out;
  auto say = [&](std::string_view english, std::string_view french, auto... values) {
    out.push_back(fmt::format(fmt::runtime(en ? english : french), values...));
  };
  say("What was recorded was released, or may have been: an entry is on disk before the bytes go, and whether they "
      "arrived is not known.",
      "Ce qui est inscrit a été communiqué, ou a pu l'être : une entrée est sur le disque avant que les octets ne "
      "partent, et nul ne sait s'ils sont arrivés.");
  say("The ledger tells what passed the gate. Who reached the database, its files or a copy by another way is not in "
      "it.",
      "Le journal dit ce qui a passé la porte. Qui a atteint la base, ses fichiers ou une copie par une autre voie n'y "
      "figure pas.");
  say("An account is not a person: who sat before the screen, and what became of what was read, is not known.",
      "Un compte n'est pas une personne : qui était devant l'écran, et ce qu'il est advenu de ce qui a été lu, reste "
      "inconnu.");
  if (dossier.basis.size > 0 && dossier.query.from < dossier.basis.first_time)
    say("The ledger begins on {}: nothing is known of before.", "Le journal commence le {} : rien n'est connu d'avant.",
        TimeText(dossier.basis.first_time));
  if (dossier.query.to > dossier.basis.last_time && dossier.basis.size > 0)
    say("Its last entry is of {}: nothing is known of after.",
        "Sa dernière entrée est du {} : rien n'est connu d'après.", TimeText(dossier.basis.last_time));
  if (dossier.basis.covered < dossier.basis.size)
    say("The last {} entries are not under a signed checkpoint yet: what rests on them alone cannot be proved yet.",
        "Les {} dernières entrées ne sont pas encore sous un point de contrôle signé : ce qui ne repose que sur elles "
        "ne peut pas encore être prouvé.",
        dossier.basis.size - dossier.basis.covered);
  if (dossier.closed > 0)
    say("{} entries do not open with the keys that are here: whom they name is not known.",
        "{} entrées ne s'ouvrent pas avec les clés présentes : qui elles nomment n'est pas connu.", dossier.closed);
  if (dossier.unnamed > 0)
    say("{} people have no key any more (they were erased), or one that does not open: they are counted, and listed "
        "under a token.",
        "{} personnes n'ont plus de clé (elles ont été effacées), ou une qui ne s'ouvre pas : elles sont comptées, et "
        "listées sous un jeton.",
        dossier.unnamed);
  if (dossier.nameless > 0)
    say("{} times a person was charged whom the answer did not name (a part of a statement that came back empty).",
        "{} fois une personne a été comptée que la réponse ne nommait pas (une partie d'instruction restée vide).",
        dossier.nameless);
  if (dossier.statistic_rows > 0)
    say("{} rows of statistics were given; they single nobody out, and nobody is listed for them.",
        "{} lignes de statistiques ont été données ; elles n'isolent personne, et personne n'est listé pour elles.",
        dossier.statistic_rows);
  return out;
}

}  // namespace ecluse
