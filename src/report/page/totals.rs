//! Counting: what a page's summary says, gathered while the rows go by.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::evidence::KeyDigest;
use crate::report;
use crate::views::{Gist, ReportRow, ToDo, is_privos};
use crate::words::{Action, Failure, Reason, Status};

/// How an attempt failed, as the picture stacks it; `None`: its row cannot be read.
pub type Kind = Option<Failure>;

/// The kinds from the bottom of a bar to its top. `answered` ones are never reported.
pub const KINDS: [Kind; 6] = [
    Some(Failure::Http),
    Some(Failure::Timeout),
    Some(Failure::Network),
    Some(Failure::Intent),
    Some(Failure::NotSent),
    None,
];

/// What was counted of the rows that went by.
#[derive(Debug, Default)]
pub struct Totals {
    pub rows: u64,
    pub corrections: u64,
    pub statuses: BTreeMap<Status, u64>,
    pub reasons: BTreeMap<(Status, Reason), u64>,
    /// By the plan's name, in the order of [`Status::ALL`]; `None`: no operation of the plan.
    pub operations: BTreeMap<Option<String>, [u64; Status::ALL.len()]>,
    pub actions: BTreeMap<Action, Todo>,
    /// What is to be done now, but for the operations, which `actions` has.
    pub to_do: ToDo,
    /// When each was sent and how it failed.
    pub sent: Vec<(Moment, Kind)>,
    /// Those whose time cannot be read or believed.
    pub untimed: u64,
}

/// What is to be done by one action.
#[derive(Debug, Default)]
pub struct Todo {
    pub entries: u64,
    /// The operations of those entries: what is sent again is sent once for each.
    pub operations: BTreeSet<KeyDigest>,
    /// Entries that no reading names an operation of yet.
    pub unread: u64,
    /// By the reason, and whether it is a correction.
    pub reasons: BTreeMap<(Reason, bool), u64>,
}

impl Todo {
    /// How many operations they are.
    pub fn operations(&self) -> u64 {
        self.operations.len() as u64 + self.unread
    }
}

impl Totals {
    /// Counts a row.
    pub fn add(&mut self, row: &ReportRow) {
        let gist = row.gist.as_ref();
        self.rows += 1;
        self.corrections += u64::from(row.correction);
        *self.statuses.entry(row.status).or_default() += 1;
        *self.reasons.entry((row.status, report::reason(row))).or_default() += 1;
        let operation = gist.and_then(|gist| gist.operation.clone());
        let column = Status::ALL.iter().position(|status| *status == row.status).unwrap_or_default();
        self.operations.entry(operation).or_default()[column] += 1;
        let todo = self.actions.entry(report::action(row)).or_default();
        todo.entries += 1;
        *todo.reasons.entry((report::reason(row), row.correction)).or_default() += 1;
        match gist {
            Some(gist) => {
                todo.operations.insert(gist.identity);
            }
            None => todo.unread += 1,
        }
        self.add_to_do(row);
        match gist.and_then(Gist::sent) {
            Some(sent) => self.sent.push((sent, gist.and_then(|gist| gist.failure))),
            None => self.untimed += 1,
        }
    }

    fn add_to_do(&mut self, row: &ReportRow) {
        let to_do = &mut self.to_do;
        match report::action(row) {
            _ if is_privos(row.status, report::reason(row), row.correction) => to_do.privo += 1,
            Action::Review => to_do.review += 1,
            Action::Wait => {
                to_do.waiting += 1;
                to_do.until = to_do.until.into_iter().chain(row.not_before).min();
            }
            _ => {}
        }
    }

    /// What is to be done now.
    pub fn to_do(&self) -> ToDo {
        let operations = |action| self.actions.get(&action).map_or(0, Todo::operations);
        ToDo { resend: operations(Action::Resend), may_resend: operations(Action::MayResend), ..self.to_do.clone() }
    }

    /// How many have this status.
    pub fn of(&self, status: Status) -> u64 {
        self.statuses.get(&status).copied().unwrap_or_default()
    }

    /// How many failed in this way.
    pub fn failed(&self, kind: Kind) -> u64 {
        self.sent.iter().filter(|(_, of)| *of == kind).count() as u64
    }
}
