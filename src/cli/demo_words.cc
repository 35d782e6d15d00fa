#include "cli/demo_words.h"

#include <fmt/format.h>

#include <array>

namespace ecluse::demo {

namespace {

constexpr std::array<Offence, 24> kOffences = {{
    {"90101", "Vol simple", "délit", 36},
    {"90102", "Vol avec effraction", "délit", 60},
    {"90103", "Vol de véhicule", "délit", 60},
    {"90104", "Vol avec violence", "délit", 84},
    {"90105", "Recel", "délit", 60},
    {"90106", "Escroquerie", "délit", 60},
    {"90107", "Abus de confiance", "délit", 36},
    {"90108", "Extorsion", "délit", 84},
    {"90201", "Violences légères", "contravention", 0},
    {"90202", "Violences aggravées", "délit", 60},
    {"90203", "Menaces réitérées", "délit", 6},
    {"90204", "Homicide", "crime", 360},
    {"90205", "Enlèvement", "crime", 240},
    {"90301", "Détention de stupéfiants", "délit", 120},
    {"90302", "Trafic de stupéfiants", "délit", 120},
    {"90401", "Conduite sans permis", "délit", 12},
    {"90402", "Conduite sous l'empire de l'alcool", "délit", 24},
    {"90403", "Délit de fuite", "délit", 36},
    {"90501", "Faux et usage de faux", "délit", 36},
    {"90502", "Usurpation d'identité", "délit", 12},
    {"90601", "Incendie volontaire", "crime", 120},
    {"90602", "Dégradations", "délit", 24},
    {"90701", "Port d'arme prohibé", "délit", 36},
    {"90702", "Outrage", "délit", 12},
}};

constexpr std::array<std::string_view, 48> kWomen = {
    "Adèle",   "Agathe",   "Albane",  "Alice",  "Anaïs",   "Aurore",   "Béatrice",  "Blanche", "Capucine", "Cécile",
    "Chloé",   "Clémence", "Colette", "Diane",  "Édith",   "Élise",    "Éloïse",    "Emma",    "Estelle",  "Fanny",
    "Flore",   "Gaëlle",   "Hélène",  "Inès",   "Irène",   "Jade",     "Joséphine", "Judith",  "Léa",      "Léonie",
    "Lina",    "Louise",   "Lucie",   "Manon",  "Margaux", "Mathilde", "Mélanie",   "Nadia",   "Noémie",   "Odile",
    "Pauline", "Romane",   "Sarah",   "Solène", "Sonia",   "Thérèse",  "Valérie",   "Zoé"};

constexpr std::array<std::string_view, 48> kMen = {
    "Adrien", "Alban",   "Amaury",  "Anatole", "Antoine",  "Arthur",  "Augustin", "Bastien", "Benoît",  "Bruno",
    "Cédric", "Clément", "Côme",    "Damien",  "Denis",    "Édouard", "Élie",     "Émile",   "Étienne", "Fabien",
    "Félix",  "Florent", "Gaspard", "Gilles",  "Grégoire", "Guy",     "Hugo",     "Ibrahim", "Jérôme",  "Joachim",
    "Jules",  "Karim",   "Léon",    "Loïc",    "Lucas",    "Marius",  "Martin",   "Maxime",  "Nathan",  "Noël",
    "Octave", "Pascal",  "Raphaël", "Rémi",    "Samuel",   "Théo",    "Victor",   "Yann"};

constexpr std::array<std::string_view, 40> kNameStart = {
    "Ar",  "Bar", "Bel", "Ber", "Bois", "Bran", "Cal",  "Cas", "Cha", "Clo", "Cor", "Dau", "Del", "Des",
    "Dor", "Fau", "Fer", "Fon", "Gal",  "Ger",  "Gran", "Gué", "Har", "Jau", "Lam", "Lau", "Mal", "Mar",
    "Mon", "Mor", "Nau", "Per", "Pon",  "Ram",  "Ros",  "Sau", "Ter", "Tou", "Val", "Ver"};
constexpr std::array<std::string_view, 16> kNameMiddle = {"",   "ba", "bi", "cha", "da", "de", "gui", "la",
                                                          "le", "li", "mi", "na",  "ri", "ro", "ta",  "vi"};
constexpr std::array<std::string_view, 25> kNameEnd = {
    "bert", "bois", "card", "chet", "court", "din",  "dreau", "fard", "gnac", "gnon", "lard", "let", "lier",
    "lois", "mont", "nard", "net",  "quet",  "quin", "reau",  "rel",  "ron",  "tel",  "tier", "vet"};

constexpr std::array<std::string_view, 20> kTownStart = {
    "Beaumanoir", "Bruyères",   "Clairval",     "Combefroide", "Courtelune", "Fontmarie",   "Grandlac",
    "Hautebrise", "Larrivoire", "Mirefontaine", "Montargeau",  "Noirmesnil", "Ormeval",     "Pierrebasse",
    "Rochebelle", "Sablonne",   "Tourneval",    "Valombre",    "Vernoisy",   "Villefeuille"};
constexpr std::array<std::string_view, 20> kTownEnd = {
    "",          "-la-Forêt", "-le-Château",  "-les-Bains",  "-sur-Ardre",    "-sur-Lune", "-en-Plaine", "-aux-Chênes",
    "-le-Vieux", "-la-Neuve", "-les-Moulins", "-Saint-Aure", "-Sainte-Brune", "-le-Haut",  "-le-Bas",    "-des-Prés",
    "-du-Gué",   "-l'Abbaye", "-en-Vallée",   "-Port"};

constexpr std::array<std::string_view, 24> kStreets = {
    "rue des Tilleuls",   "rue du Moulin",      "avenue de la Gare",  "place du Marché",  "chemin des Vignes",
    "rue de l'Écluse",    "impasse du Lavoir",  "boulevard du Canal", "rue des Remparts", "allée des Peupliers",
    "quai des Bateliers", "rue de la Fontaine", "route de la Forêt",  "rue du Four",      "rue des Écoles",
    "cours de la Halle",  "rue du Pont-Neuf",   "chemin de Halage",   "rue Basse",        "rue Haute",
    "rue du Tisserand",   "place de l'Horloge", "sentier des Roches", "rue du Puits"};

constexpr std::array<std::string_view, 10> kServices = {
    "Brigade de Clairval",   "Commissariat d'Ormeval",   "Compagnie de Rochebelle", "Parquet de Fontmarie",
    "Brigade de Grandlac",   "Commissariat de Valombre", "Tribunal de Montargeau",  "Section de Noirmesnil",
    "Brigade de Hautebrise", "Parquet de Vernoisy"};

constexpr std::array<std::string_view, 12> kCameras = {"A01-km012", "A01-km047", "A07-km103", "A07-km188",
                                                       "D12-pont",  "D12-rond",  "N20-nord",  "N20-sud",
                                                       "P-gare",    "P-halle",   "T-entrée",  "T-sortie"};

}  // namespace

std::span<const Offence> Offences() { return kOffences; }

std::span<const std::string_view> GivenNames(char sex) {
  if (sex == 'F') return kWomen;
  return kMen;
}

size_t FamilyNames() { return kNameStart.size() * kNameMiddle.size() * kNameEnd.size(); }

std::string FamilyName(size_t number) {
  size_t start = number % kNameStart.size();
  size_t end = number / kNameStart.size() % kNameEnd.size();
  size_t middle = number / kNameStart.size() / kNameEnd.size() % kNameMiddle.size();
  return fmt::format("{}{}{}", kNameStart[start], kNameMiddle[middle], kNameEnd[end]);
}

size_t Towns() { return kTownStart.size() * kTownEnd.size(); }
std::string TownName(size_t number) {
  return fmt::format("{}{}", kTownStart[number % kTownStart.size()], kTownEnd[number / kTownStart.size()]);
}
std::string TownCode(size_t number) { return fmt::format("99{:03}", number); }
std::string Department(size_t number) { return fmt::format("D{:02}", number % kTownStart.size() + 1); }

std::string_view Street(uint64_t number) { return kStreets[number % kStreets.size()]; }
std::string_view Service(uint64_t number) { return kServices[number % kServices.size()]; }
std::string_view Camera(uint64_t number) { return kCameras[number % kCameras.size()]; }

}  // namespace ecluse::demo
