"""Names as people, spreadsheets and mischief make them. All are made up."""

# Each is a whole user name, given name or id; `{n}` makes it the only one.
AWKWARD = (
    "O'Hara {n}",
    'Ann "Nan" {n}',
    "back\\slash {n}",
    "plus+plus {n}",
    "100% {n}",
    "per%20cent {n}",
    "%2F{n}%00",
    "a/b/c {n}",
    "tab\there {n}",
    "Łukasz Żółć {n}",
    "山田 太郎 {n}",
    "أحمد {n}",
    "עדי {n}",
    "Ольга {n}",
    "zoé\u0301 {n}",
    "😀 {n}",
    '" or userName pr or userName eq "{n}',
    "' OR '1'='1' -- {n}",
    "x{n}&user_name=y",
    "a=b;c=d#frag?q {n}",
    "<b>{n}</b>&amp;",
    "{{n}} ${{{n}}} {n}",
    "../..//{n}",
    "$.id[?(@.n=={n})]",
    "*{n}*",
    "_{n}_%",
    "null {n}",
    "line {n} & sons, Ltd.; \"x\\\"y\"",
)


def awkward(n):
    return AWKWARD[n % len(AWKWARD)].replace("{n}", str(n))


EMAILS = (
    "plain{n}@example.com",
    "plus+tag{n}@example.com",
    "o'neil{n}@example.com",
    "per%cent{n}@example.com",
    "sl/ash{n}@example.com",
    "a=b&c{n}@example.com",
    "{{x}}{n}@example.com",
    "Case{n}@Example.com",
    "#{n}?!@example.com",
    '"quo,ted{n}"@example.com',
    '"back\\\\slash{n}"@example.com',
    "under_score-{n}@sub.example.com",
)


def email(n):
    return EMAILS[n % len(EMAILS)].replace("{n}", str(n))


GIVEN = ("Ann", "Bob", "Chloë", "D'Arcy", "Émile", "Fatima", "Güney", "Hana", "Íñigo", "Jürgen", "Ōkami", "Жанна")


def given(n):
    return GIVEN[n % len(GIVEN)] + f" {n}"


def birth(n):
    return f"20{10 + n % 12:02}-{1 + n % 12:02}-{1 + n % 28:02}"
