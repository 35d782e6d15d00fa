// The demonstration's policy: three roles that show what a policy can say.
#include <fmt/format.h>

#include "cli/demo_folder.h"

namespace ecluse::demo {

namespace {

constexpr const char* kHead =
    R"yaml(# The demonstration's policy. Edit it, run `ecluse check` and `ecluse apply`, or simply `ecluse demo` again.
version: 1
register: interior

gate:
  data_dir: data
  sql: {{listen: "127.0.0.1:{}", tls: {{certificate: gate.crt, key: gate.key}}}}
  database: {{host: "{}", port: {}, name: interior}}
  allow_cleartext: true       # on loopback only: psql works without further options
)yaml";

constexpr const char* kBody = R"yaml(
purposes:
  judicial-inquiry: {reference: required}
  permit-control:   {reference: optional}
  statistics:       {reference: none}

tables:
  taj.person:                 # the criminal-history file
    subject: person_id
    columns:
      person_id:   {class: key}
      nir:         {class: identifier, sealed: {search: [equality]}}     # encrypted before it reaches the database
      family_name: {class: identity,   sealed: {search: [equality, phonetic], accept_leakage: true}}
      given_name:  {class: identity,   sealed: {}}
      birth_date:  {class: identity,   sealed: {}}
      birth_place: {class: identity}
      sex:         {class: demographic}
      photo:       {class: biometric,  sealed: {}}
  taj.involvement:
    subject: person_id
    columns:
      involvement_id: {class: key}
      person_id:      {class: key}
      case_id:        {class: key}
      role:           {class: judicial}
      outcome:        {class: judicial}
      recorded_at:    {class: judicial}
  taj.case:                   # about everybody involved in it
    subject: {via: taj.involvement, key: case_id}
    columns:
      case_id:      {class: key}
      opened:       {class: judicial}
      offence_code: {class: judicial}
      summary:      {class: judicial}
  fpr.notice:                 # wanted persons
    subject: person_id
    columns:
      notice_id:       {class: key}
      person_id:       {class: key}
      kind:            {class: notice}
      issuing_service: {class: notice}
      alert_id:        {class: identifier}
      issued:          {class: notice}
      expires:         {class: notice}
  fpr.vehicle:
    subject: plate
    space: plate
    columns:
      vehicle_id: {class: number}
      plate:      {class: key}
      make:       {class: notice}
      colour:     {class: notice}
      reason:     {class: notice}
      alert_id:   {class: identifier}
      reported:   {class: notice}
  sia.owner:                  # firearm owners, under numbers of their own
    subject: owner_id
    space: owner
    columns:
      owner_id:    {class: key}
      family_name: {class: identity}
      given_name:  {class: identity}
      birth_date:  {class: identity}
      birth_place: {class: identity}
  sia.address:
    subject: owner_id
    space: owner
    compartment: contact      # the database does not show whose an address is: only the gate joins it with an owner
    erasure: per_person       # `ecluse erase` takes them out of every backup of the register too
    columns:
      address_id: {class: number}
      owner_id:   {class: key}
      street:     {class: contact, sealed: {}}
      postcode:   {class: contact}
      town:       {class: contact}
      telephone:  {class: contact, sealed: {search: [equality]}}
  sia.firearm:
    subject: owner_id
    space: owner
    columns:
      firearm_id: {class: number}
      owner_id:   {class: key}
      serial:     {class: identifier}
      category:   {class: firearm}
      make:       {class: firearm}
      calibre:    {class: firearm}
  sia.permit:
    subject: owner_id
    space: owner
    columns:
      permit_id: {class: number}
      owner_id:  {class: key}
      kind:      {class: permit}
      issued:    {class: permit}
      expires:   {class: permit}
      status:    {class: permit}
  lapi.sighting:              # number plates seen by cameras
    subject: plate
    space: plate
    columns:
      sighting_id:    {class: number}
      plate:          {class: key}
      camera:         {class: place}
      seen_at:        {class: place}
      biometric_hash: {class: biometric}
    retention: {column: seen_at, keep: 30d}   # ecluse retain, once a day, deletes what is older

open_tables: [ref.offence, ref.town]

roles:
  officer:                    # looks up the person in front of them
    purposes: [judicial-inquiry]
    read:
      taj.person:      {key: clear, identifier: clear, identity: clear, demographic: clear, birth_date: year, photo: hidden}
      taj.involvement: {key: clear, judicial: clear}
      taj.case:        {key: clear, judicial: clear}
      fpr.notice:      {key: clear, notice: clear, alert_id: last4}
      fpr.vehicle:     {number: clear, key: clear, notice: clear, alert_id: last4}
      lapi.sighting:   {number: clear, key: clear, place: clear, biometric: hidden}
    rows:
      taj.involvement: "outcome <> 'closed_without_action'"
    budgets:
      - {subjects: 60,  per: 1h}
      - {subjects: 200, per: 24h}
      - {lookups: 600,  per: 1h}
  analyst:                    # counts, and hardly ever sees anybody
    purposes: [statistics]
    read:
      taj.person:      {person_id: clear, demographic: clear}
      taj.involvement: {key: clear, role: clear, outcome: clear}
      sia.firearm:     {key: clear, firearm: clear}
      sia.permit:      {key: clear, kind: clear, status: clear}
    budgets:
      - {subjects: 5,  per: 24h}
      - {lookups: 200, per: 1h}
    statistics:
      min_subjects: 11
      by:
        taj.person:      [sex]
        taj.involvement: [role, outcome]
        sia.firearm:     [category, calibre]
        sia.permit:      [kind, status]
      rows: 1000
      per: 24h
  clerk:                      # keeps permits and addresses
    purposes: [permit-control]
    read:
      sia.owner:   {key: clear, identity: clear}
      sia.address: {number: clear, key: clear, contact: clear}
      sia.firearm: {number: clear, key: clear, firearm: clear, serial: clear}
      sia.permit:  {number: clear, key: clear, permit: clear}
    write:
      sia.permit:
        insert: [owner_id, kind, issued, expires, status]
        update: [kind, issued, expires, status]
      sia.address:
        insert: [owner_id, street, postcode, town, telephone]
        update: [street, postcode, town, telephone]
    budgets:
      - {subjects: 100, per: 1h}
      - {subjects: 400, per: 24h}
      - {lookups: 1000, per: 1h}

limits:
  per_address:      [{subjects: 500, per: 1h}]
  per_organisation: [{subjects: 5000, per: 24h}]
  per_register:     [{subjects: 50000, per: 24h}]
)yaml";

}  // namespace

const std::array<DemoAccount, 3> kAccounts = {{
    {"alice", "officer", "brigade-clairval", "judicial-inquiry", "PV-2026-0042",
     "SELECT person_id, family_name, given_name, birth_date, photo FROM taj.person WHERE person_id = 4242",
     "one person: the birth date cut to its year, no photo, one of 60 people an hour"},
    {"basile", "analyst", "statistics-office", "statistics", "",
     "SELECT outcome, count(*) FROM taj.involvement GROUP BY outcome", "counts about thousands, about nobody"},
    {"camille", "clerk", "prefecture-ormeval", "permit-control", "",
     "UPDATE sia.permit SET status = 'withdrawn' WHERE permit_id = 17", "a write, recorded and charged like a look"},
}};

std::string DemoPolicy(const DemoPlaces& places) {
  return fmt::format(kHead, places.sql_port, places.socket_folder, places.database_port) + kBody;
}

}  // namespace ecluse::demo
