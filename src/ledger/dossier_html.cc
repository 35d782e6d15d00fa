// The dossier as a report for people: one HTML file without scripts or anything from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "base/time_text.h"
#include "ledger/dossier.h"
#include "ledger/dossier_words.h"

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
th{overflow-wrap:normal}td:first-child{min-width:9rem}
td.n,th.n{text-align:right}.fill{background:var(--fill);border:1px dashed var(--line);padding:.4rem .6rem;min-height:2.5rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid var(--line);padding:.6rem}figure{margin:1rem 0;overflow-x:auto}svg{max-width:100%}
.bar{fill:var(--mark)}.axis{stroke:var(--line)}text{fill:var(--soft);font:12px system-ui,sans-serif}
)";

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

std::string TimeLine(const Dossier& dossier, const DossierWords& words, Language language) {
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

std::string DossierHtml(const Dossier& dossier, Language language) {
  const DossierWords& words = WordsOf(language);
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
  for (const Consequence& one : Consequences()) {
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
                       Short(person.last), Html(person.fields.empty() ? words.existence : FieldsOf(person)));
  }
  return out + "</tbody></table></section>\n</main></body></html>\n";
}

}  // namespace ecluse
