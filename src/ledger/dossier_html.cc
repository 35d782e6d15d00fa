// The dossier as a report for people: one HTML file without scripts or anything from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "base/time_text.h"
#include "ledger/dossier.h"

namespace ecluse {
namespace {

std::string Html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

constexpr std::string_view kStyle = R"(
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6570;--line:#c9d0d8;--paper:#fff;--mark:#0b5cad;--fill:#fff7d6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#a3adb8;--line:#3d4650;--paper:#14181d;--mark:#7ab8ff;--fill:#3a3416}}
@media print{:root{--ink:#000;--soft:#333;--line:#999;--paper:#fff;--mark:#000;--fill:#fff}section{break-inside:avoid-page}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:2px solid var(--line)}
p.lead,figcaption,.note{color:var(--soft)}table{border-collapse:collapse;width:100%;margin:.5rem 0;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
td.n,th.n{text-align:right}.fill{background:var(--fill);border:1px dashed var(--line);padding:.4rem .6rem;min-height:2.5rem}
pre{overflow-x:auto;border:1px solid var(--line);padding:.6rem}figure{margin:1rem 0;overflow-x:auto}svg{max-width:100%}
.bar{fill:var(--mark)}.axis{stroke:var(--line)}text{fill:var(--soft);font:12px system-ui,sans-serif}
)";

// The words of the report in one language.
struct Words {
  std::string_view language, title, lead, question, account, organisation, role, address, period, from_start, to_end;
  std::string_view nature, nature_law, subjects, asked, records, entries, first, last, refusals, statistics;
  std::string_view categories, clear, masked, unknown, space, count;
  std::string_view line, line_caption, newly;
  std::string_view purposes, references, addresses;
  std::string_view contact, contact_law, contact_fill;
  std::string_view consequences, consequences_law, consequences_fill;
  std::string_view measures, measures_law, measures_fill, no_lock;
  std::string_view evidence, evidence_text, no_checkpoint;
  std::string_view limits, people, people_more, subject, seen, fields, changed;
};

constexpr Words kEnglish{
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
    .changed = "changed",
};

constexpr Words kFrench{
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
    .changed = "modifiée",
};

// What tends to follow from the loss of a class of data: a start for who assesses it.
struct Consequence {
  std::string_view of, en, fr;
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

std::string Duration(int64_t micros, Language language) {
  const int64_t minutes = micros / 60'000'000;
  const bool en = language == Language::en;
  if (minutes % 1'440 == 0) return fmt::format("{} {}", minutes / 1'440, en ? "d" : "j");
  if (minutes % 60 == 0) return fmt::format("{} h", minutes / 60);
  return fmt::format("{} min", minutes);
}

// To the second, which people read more easily.
std::string Short(int64_t micros) {
  std::string text = TimeText(micros);
  text[10] = ' ';
  return text.substr(0, 19);
}

std::string Row(std::string_view name, const std::string& value) {
  return fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", Html(name), value);
}

std::string Fill(std::string_view what) {
  return fmt::format(
      "<p>{}</p><div class=\"fill\" contenteditable=\"true\" role=\"textbox\" aria-multiline=\"true\" "
      "aria-label=\"{}\"></div>\n",
      Html(what), Html(what));
}

std::string TimeLine(const Dossier& dossier, const Words& words, Language language) {
  if (dossier.time_line.empty()) return {};
  uint64_t most = 1;
  for (const Dossier::Slice& slice : dossier.time_line) most = std::max(most, slice.newly);
  constexpr double kWidth = 860, kHeight = 160, kLeft = 50, kTop = 16;
  const double step = kWidth / static_cast<double>(dossier.time_line.size());
  const std::string caption =
      fmt::format(fmt::runtime(words.line_caption), Duration(dossier.slice, language), Short(dossier.slices_from));
  std::string out = fmt::format("<figure><svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n",
                                kLeft + kWidth + 10, kTop + kHeight + 24, Html(caption));
  out += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"{}\" y=\"{}\" "
      "text-anchor=\"end\">0</text>\n",
      kLeft - 6, kTop + 4, most, kLeft - 6, kTop + kHeight);
  for (size_t i = 0; i < dossier.time_line.size(); ++i) {
    const Dossier::Slice& slice = dossier.time_line[i];
    const double height = kHeight * static_cast<double>(slice.newly) / static_cast<double>(most);
    const int64_t begins = dossier.slices_from + static_cast<int64_t>(i) * dossier.slice;
    out += fmt::format(
        "<rect class=\"bar\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"><title>{}: {} "
        "{}</title></rect>\n",
        kLeft + step * static_cast<double>(i), kTop + kHeight - height, std::max(step - 1, 1.0), height, Short(begins),
        slice.newly, words.newly);
  }
  out += fmt::format("<line class=\"axis\" x1=\"{0}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\"/>\n", kLeft, kTop + kHeight,
                     kLeft + kWidth);
  out += fmt::format("<text x=\"{}\" y=\"{}\">{}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft,
                     kTop + kHeight + 18, Short(dossier.slices_from), kLeft + kWidth, kTop + kHeight + 18,
                     Short(dossier.slices_from + static_cast<int64_t>(dossier.time_line.size()) * dossier.slice));
  return out + fmt::format("</svg><figcaption>{}</figcaption></figure>\n", Html(caption));
}

std::string CountTable(std::string_view title, const std::map<std::string, uint64_t>& counts, std::string_view unit) {
  if (counts.empty()) return {};
  std::vector<std::pair<uint64_t, std::string>> most;
  for (const auto& [name, count] : counts) most.emplace_back(count, name);
  std::ranges::sort(
      most, [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  std::string out = fmt::format(
      "<table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"n\">{}</th>"
      "</tr></thead><tbody>\n",
      Html(title), Html(unit));
  size_t shown = 0;
  for (const auto& [count, name] : most) {
    if (++shown > 50) {
      out += fmt::format("<tr><td>… +{}</td><td></td></tr>\n", most.size() - 50);
      break;
    }
    out += fmt::format("<tr><td>{}</td><td class=\"n\">{}</td></tr>\n", Html(name), count);
  }
  return out + "</tbody></table>\n";
}

std::string FieldsOf(const DossierPerson& person) {
  std::string out, table;
  for (const auto& [place, mask] : person.fields) {
    if (place.first != table) {
      out += fmt::format("{}{}: ", out.empty() ? "" : "; ", place.first);
      table = place.first;
    } else {
      out += ", ";
    }
    out += mask == "clear" ? place.second : fmt::format("{} ({})", place.second, mask);
  }
  return out;
}

}  // namespace

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

std::string DossierHtml(const Dossier& dossier, Language language) {
  const Words& words = language == Language::en ? kEnglish : kFrench;
  const Query& query = dossier.query;
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; style-src "
      "'unsafe-inline'\"><title>{}</title><style>{}</style></head><body><main>\n",
      words.language, Html(words.title), kStyle);
  out += fmt::format("<h1>{}</h1><p class=\"lead\">{}</p>\n", Html(words.title),
                     fmt::format(fmt::runtime(words.lead), Html(dossier.register_name), Short(dossier.made) + " UTC"));

  out += fmt::format("<section><h2>{}</h2><table><tbody>\n", Html(words.question));
  if (!query.principal.empty()) out += Row(words.account, Html(query.principal));
  if (!query.organisation.empty()) out += Row(words.organisation, Html(query.organisation));
  if (!query.role.empty()) out += Row(words.role, Html(query.role));
  if (!query.address.empty()) out += Row(words.address, Html(query.address));
  out += Row(words.period, fmt::format("{} – {}", query.from > 0 ? Short(query.from) : std::string(words.from_start),
                                       query.to != INT64_MAX ? Short(query.to) : std::string(words.to_end)));
  out += "</tbody></table></section>\n";

  out += fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p><table><tbody>\n", Html(words.nature),
                     Html(words.nature_law));
  out += Row(words.subjects, fmt::format("<strong>{}</strong>", dossier.subjects.size()));
  out += Row(words.records, std::to_string(dossier.rows));
  if (!dossier.asked.empty()) out += Row(words.asked, std::to_string(dossier.asked.size()));
  if (dossier.statistic_rows > 0) out += Row(words.statistics, std::to_string(dossier.statistic_rows));
  if (dossier.refusals > 0) out += Row(words.refusals, std::to_string(dossier.refusals));
  out += Row(words.entries, std::to_string(dossier.entries));
  if (dossier.entries > 0) {
    out += Row(words.first, Short(dossier.first) + " UTC");
    out += Row(words.last, Short(dossier.last) + " UTC");
  }
  out += "</tbody></table>\n";
  out += fmt::format(
      "<table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"n\">{}</th><th scope=\"col\" "
      "class=\"n\">{}</th></tr></thead><tbody>\n",
      Html(words.categories), Html(words.clear), Html(words.masked));
  for (const auto& [name, category] : dossier.categories)
    out += fmt::format("<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                       name == "unknown" ? Html(words.unknown) : Html(name), category.clear, category.masked);
  out += "</tbody></table>\n";
  out += CountTable(words.space, dossier.spaces, words.count);
  out += "</section>\n";

  out += fmt::format("<section><h2>{}</h2>\n{}", Html(words.line), TimeLine(dossier, words, language));
  out += CountTable(words.account, dossier.principals, words.entries);
  out += CountTable(words.addresses, dossier.addresses, words.entries);
  out += CountTable(words.purposes, dossier.purposes, words.entries);
  out += CountTable(words.references, dossier.references, words.entries);
  out += "</section>\n";

  out += fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p>{}</section>\n", Html(words.contact),
                     Html(words.contact_law), Fill(words.contact_fill));

  out += fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p><ul>\n", Html(words.consequences),
                     Html(words.consequences_law));
  for (const Consequence& one : kConsequences) {
    if (dossier.categories.contains(std::string(one.of)))
      out += fmt::format("<li>{}</li>\n", Html(language == Language::en ? one.en : one.fr));
  }
  out += "</ul>" + Fill(words.consequences_fill) + "</section>\n";

  out += fmt::format("<section><h2>{}</h2><p class=\"note\">{}</p>\n", Html(words.measures), Html(words.measures_law));
  if (dossier.locks.empty()) {
    out += fmt::format("<p>{}</p>\n", Html(words.no_lock));
  } else {
    out += "<ul>\n";
    for (const auto& [time, what] : dossier.locks) out += fmt::format("<li>{} UTC: {}</li>\n", Short(time), Html(what));
    out += "</ul>\n";
  }
  out += Fill(words.measures_fill) + "</section>\n";

  out += fmt::format("<section><h2>{}</h2>\n", Html(words.evidence));
  if (dossier.basis.note.empty()) {
    out += fmt::format("<p>{}</p>\n", Html(words.no_checkpoint));
  } else {
    out += fmt::format("<p>{}</p><pre>{}</pre>\n",
                       fmt::format(fmt::runtime(words.evidence_text), Html(dossier.basis.origin), dossier.basis.size,
                                   dossier.basis.covered),
                       Html(dossier.basis.note));
  }
  out += "</section>\n";

  out += fmt::format("<section><h2>{}</h2><ul>\n", Html(words.limits));
  for (const std::string& one : DossierLimits(dossier, language)) out += fmt::format("<li>{}</li>\n", Html(one));
  out += "</ul></section>\n";

  out += fmt::format("<section><h2>{}</h2>\n", Html(words.people));
  const size_t shown = std::min(dossier.subjects.size(), limits::kDossierShown);
  if (shown < dossier.subjects.size())
    out += fmt::format("<p>{}</p>\n", fmt::format(fmt::runtime(words.people_more), shown, dossier.subjects.size()));
  out += fmt::format(
      "<table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{} (UTC)</th><th scope=\"col\">{}</th>"
      "</tr></thead><tbody>\n",
      Html(words.subject), Html(words.seen), Html(words.fields));
  for (size_t i = 0; i < shown; ++i) {
    const DossierPerson& person = dossier.subjects[i];
    out += fmt::format("<tr><td>{}{}</td><td>{}<br>{}</td><td>{}</td></tr>\n", Html(person.name),
                       person.changed ? fmt::format(" ({})", words.changed) : "", Short(person.first),
                       Short(person.last), Html(FieldsOf(person)));
  }
  return out + "</tbody></table></section>\n</main></body></html>\n";
}

}  // namespace ecluse
