//! What other people's servers do otherwise than their documents say. A habit is no fault of one request: it holds for
//! the whole server and all of its life.

use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::wire::Reply;

/// The habits of a server. The default is the documented one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habits {
    /// How a lookup finds accounts by a key.
    pub search: Search,
    /// Display names, external ids and eids are equal whatever their case and the spaces around them.
    pub folds_keys: bool,
    /// A `+` in a query stands for itself, not for a space.
    pub plus_is_plus: bool,
    /// How records show given names.
    pub names: ShownName,
    /// How records show dates of birth.
    pub dates: ShownDate,
    /// The share of records that show them so; the others show them as they were sent.
    pub shown_otherwise: f64,
    /// Answers bear no `Date`.
    pub no_date: bool,
    /// So much the `Date` header shows more than the true time, in milliseconds.
    pub date_ahead_ms: i64,
    /// So much `created_at` shows more than the true time, in milliseconds.
    pub made_ahead_ms: i64,
    /// Deleted accounts keep their unique keys: a read does not find them, and a create is refused.
    pub keeps_deleted_keys: bool,
    /// The children go when their parent is deleted.
    pub deletes_children: bool,
    /// `account/parent` adds the children to a parent who is there already.
    pub associates_parents: bool,
    /// A request for consent turns the features of an account that is there to `pending`.
    pub asks_again: bool,
    /// The status by which a repeat is refused.
    pub refuses_with: u16,
    /// The status by which a user name or a display name that is taken is refused, where it is another one.
    pub refuses_names_with: Option<u16>,
    /// What a read of something that is not there is answered.
    pub absent: Absent,
    /// The status by which a second child of a parent is answered, though it was made.
    pub second_child: u16,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            search: Search::Exact,
            folds_keys: false,
            plus_is_plus: false,
            names: ShownName::AsSent,
            dates: ShownDate::AsSent,
            shown_otherwise: 1.0,
            no_date: false,
            date_ahead_ms: 0,
            made_ahead_ms: 0,
            keeps_deleted_keys: false,
            deletes_children: false,
            associates_parents: true,
            asks_again: false,
            refuses_with: 412,
            refuses_names_with: None,
            absent: Absent::Message,
            second_child: 201,
        }
    }
}

/// What a read of something that is not there is answered. Which of them PRIVO answers, no source shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// 404 with a JSON message.
    Message,
    /// 404 without a body.
    Empty,
    /// 404 with a page for people.
    Page,
    /// 200 with an envelope that holds nothing.
    Envelope,
    /// 400 with a JSON message.
    BadRequest,
}

/// How a lookup finds accounts by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    Exact,
    /// The oldest account whose key begins with what is asked for.
    Prefix,
    /// The oldest account whose key contains it.
    Part,
    /// The oldest account that has such a key, whatever is asked for: a filter that the server does not know.
    Ignored,
}

impl Search {
    /// Whether an account with this key is found by what was asked.
    pub(super) fn finds(self, key: &str, asked: &str) -> bool {
        match self {
            Search::Exact => key == asked,
            Search::Prefix => key.starts_with(asked),
            Search::Part => key.contains(asked),
            Search::Ignored => true,
        }
    }
}

/// How a given name is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShownName {
    AsSent,
    /// In capitals, with spaces around it.
    Capitals,
    /// Letters and their marks apart (Unicode NFD), where the name has any.
    Decomposed,
    /// With entities, as in HTML: `O&#39;Hara`.
    Entities,
    /// With no-break spaces.
    NoBreak,
}

impl ShownName {
    fn of(self, name: &str) -> String {
        match self {
            ShownName::AsSent => name.to_owned(),
            ShownName::Capitals => format!("  {} ", name.to_uppercase()),
            ShownName::Decomposed => name.replace('é', "e\u{301}").replace('ö', "o\u{308}"),
            ShownName::Entities => name.replace('&', "&amp;").replace('\'', "&#39;"),
            ShownName::NoBreak => name.replace(' ', "\u{a0}"),
        }
    }
}

/// How a date of birth is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShownDate {
    AsSent,
    /// `2016-05-04`.
    Dashed,
    /// The day before: a midnight that was moved by a time zone.
    DayBefore,
    /// The day after.
    DayAfter,
    /// `04.05.2016`.
    Dotted,
    /// `20160504.0`.
    Fraction,
    /// `00000000`.
    Zeros,
}

impl ShownDate {
    fn of(self, date: &str) -> String {
        let read = NaiveDate::parse_from_str(date, "%Y%m%d").ok();
        let form = |moved: Option<NaiveDate>, form: &str| {
            moved.map_or_else(|| date.to_owned(), |moved| moved.format(form).to_string())
        };
        match self {
            ShownDate::AsSent => date.to_owned(),
            ShownDate::Dashed => form(read, "%Y-%m-%d"),
            ShownDate::DayBefore => form(read.and_then(|day| day.checked_sub_days(Days::new(1))), "%Y%m%d"),
            ShownDate::DayAfter => form(read.and_then(|day| day.checked_add_days(Days::new(1))), "%Y%m%d"),
            ShownDate::Dotted => form(read, "%d.%m.%Y"),
            ShownDate::Fraction => format!("{date}.0"),
            ShownDate::Zeros => "00000000".to_owned(),
        }
    }
}

impl Habits {
    /// The reply to a read that finds nothing.
    pub(super) fn absent(&self, found_nothing: Reply) -> Reply {
        match self.absent {
            Absent::Message => found_nothing,
            Absent::Empty => Reply::new(404, "application/json", Vec::new()),
            Absent::Page => Reply::html(404, "404 Not Found"),
            Absent::Envelope => Reply::json(200, &json!({ "status": "success", "entity": null })),
            Absent::BadRequest => Reply::message(400, "not found"),
        }
    }

    /// Says what is wrong with these numbers, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.shown_otherwise) {
            return Err(format!("habits.shown_otherwise must lie between 0 and 1, not {}", self.shown_otherwise));
        }
        let of_names = self.refuses_names_with.unwrap_or(self.refuses_with);
        for (name, status) in
            [("refuses_with", self.refuses_with), ("refuses_names_with", of_names), ("second_child", self.second_child)]
        {
            if !(200..500).contains(&status) {
                return Err(format!("habits.{name} must be a status from 200 to 499, not {status}"));
            }
        }
        Ok(())
    }

    /// Whether this record is one of those that are shown otherwise: always the same ones.
    pub fn shows_otherwise(&self, id: &str) -> bool {
        let digest = id
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        // The upper bits: the lower ones of this digest are alike for like ids.
        (((digest >> 20) % 1000) as f64) < self.shown_otherwise * 1000.0
    }

    /// The name and the date of birth of a record as its answers show them.
    pub fn shown(&self, id: &str, name: Option<&str>, date: Option<&str>) -> (Option<String>, Option<String>) {
        if !self.shows_otherwise(id) {
            return (name.map(str::to_owned), date.map(str::to_owned));
        }
        (name.map(|name| self.names.of(name)), date.map(|date| self.dates.of(date)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_the_forms_that_real_servers_were_seen_to_use() {
        let of = |names, dates, name: &str| {
            let habits = Habits { names, dates, ..Habits::default() };
            let (name, date) = habits.shown("a", Some(name), Some("20160301"));
            (name.unwrap(), date.unwrap())
        };
        use {ShownDate as D, ShownName as N};
        for (names, dates, name, expected) in [
            (N::AsSent, D::Dashed, "Ada", ("Ada", "2016-03-01")),
            (N::Capitals, D::DayBefore, "Ada", ("  ADA ", "20160229")),
            (N::Decomposed, D::DayAfter, "Zoé", ("Zoe\u{301}", "20160302")),
            (N::Entities, D::Dotted, "O'Hara", ("O&#39;Hara", "01.03.2016")),
            (N::NoBreak, D::Fraction, "Mary Ann", ("Mary\u{a0}Ann", "20160301.0")),
            (N::AsSent, D::Zeros, "Ada", ("Ada", "00000000")),
        ] {
            let (name, date) = of(names, dates, name);
            assert_eq!((name.as_str(), date.as_str()), expected);
        }
    }

    #[test]
    fn a_share_of_the_records_is_shown_otherwise_and_always_the_same_ones() {
        let habits = Habits { shown_otherwise: 0.5, ..Habits::default() };
        let count = |habits: &Habits| (0..1000).filter(|n| habits.shows_otherwise(&format!("{n:016x}"))).count();
        assert!((350..650).contains(&count(&habits)), "{}", count(&habits));
        assert_eq!(count(&habits), count(&habits));
        assert_eq!(count(&Habits { shown_otherwise: 0.0, ..Habits::default() }), 0);
        assert_eq!(count(&Habits::default()), 1000);
    }
}
