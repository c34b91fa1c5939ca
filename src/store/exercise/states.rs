//! States, keys and groups.

use anyhow::Result;

use super::{answered, at, holds, intent, lost, put, read, restate, same, state, within, write};
use crate::clock::Span;
use crate::store::{Due, Key, State, Stats, Store, Written, WrittenRow};
use crate::words::{Action, Outcome, Reason, Status};

/// Writes so many rows; gives their entries.
fn several(store: &mut dyn Store, count: usize) -> Result<Vec<i64>> {
    (0..count).map(|n| write(store, &lost(&format!("row-{n}")))).collect()
}

/// A state comes back as it was put, in every field.
pub fn a_state_is_stored_whole(store: &mut dyn Store) -> Result<()> {
    let entry = write(store, &lost("a"))?;
    let whole = State {
        entry,
        revision: 0,
        unread: false,
        arrived: Some(at(1)),
        clock_error: Some(Span(60_000)),
        group: Some(entry),
        sent: Some(at(2)),
        status: Some(Status::Resolved),
        outcome: Some(Outcome::Applied),
        reason: Some(Reason::Created),
        action: Some(Action::StoreId),
        not_before: Some(at(3)),
        due: Some(at(4)),
        checks: 5,
        first_checked: Some(at(6)),
        last_checked: Some(at(7)),
        looks: 8,
        joined: Some(9),
        lead: Some(10),
        vanished: Some(at(11)),
        holds: true,
        correction: true,
        read: Some(12),
        said: Some(13),
        head: Some(14),
        removes: true,
        erased: Some(15),
        sealed: true,
        pseudonym: Some("nym".to_owned()),
        decided: Some(at(12)),
    };
    put(store, std::slice::from_ref(&whole))?;
    same(state(store, entry)?, whole)?;
    let bare = State { arrived: None, ..State::arrived(entry, true, at(0)) };
    put(store, std::slice::from_ref(&bare))?;
    same(state(store, entry)?, bare)?;
    for status in Status::ALL {
        restate(store, entry, |state| state.status = Some(*status))?;
        same(state(store, entry)?.status, Some(*status))?;
    }
    for reason in Reason::ALL {
        restate(store, entry, |state| state.reason = Some(*reason))?;
        same(state(store, entry)?.reason, Some(*reason))?;
    }
    for outcome in Outcome::ALL {
        restate(store, entry, |state| state.outcome = Some(*outcome))?;
        same(state(store, entry)?.outcome, Some(*outcome))?;
    }
    for action in Action::ALL {
        restate(store, entry, |state| state.action = Some(*action))?;
        same(state(store, entry)?.action, Some(*action))?;
    }
    Ok(())
}

/// A state is not put where its row was changed since it was read, or is gone; its entry is given back, and the other ones
/// are put.
pub fn a_state_is_not_put_where_its_row_was_changed_or_is_gone(store: &mut dyn Store) -> Result<()> {
    let rows = [lost("changed"), intent("gone"), lost("kept")];
    let entries = rows.map(|row| write(store, &row));
    let [changed, gone, kept] = entries;
    let (changed, gone, kept) = (changed?, gone?, kept?);
    let mut states = store.states(&[changed, gone, kept])?;
    for state in &mut states {
        (state.unread, state.status, state.reason) = (false, Some(Status::DuplicateRisk), Some(Reason::NoPlan));
    }
    same(store.change(&WrittenRow { body: None, ..lost("changed") })?, Written::Done)?;
    same(store.withdraw("gone")?, Written::Done)?;
    let mut left = within(store, |store| store.put_states(&states))?;
    left.sort_unstable();
    same(left, vec![changed, gone])?;
    let now = state(store, changed)?;
    holds(now.unread && now.revision == 1 && now.status == Some(Status::Pending))?;
    holds(store.states(&[gone])?.is_empty())?;
    same(state(store, kept)?, states.remove(2))
}

/// States are given in the order of their entries, each once, and those that are not there are left out.
pub fn states_are_given_in_order_of_their_entries(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 4)?;
    let none = entries[3] + 1000;
    let of = |states: Vec<State>| states.iter().map(|state| state.entry).collect::<Vec<_>>();
    let asked = [entries[2], none, entries[0], entries[2], entries[1]];
    same(of(store.states(&asked)?), entries[..3].to_vec())?;
    same(of(store.states(&[])?), Vec::new())?;
    for (entry, group) in [(3, 0), (1, 0), (0, 0), (2, 2)] {
        restate(store, entries[entry], |state| state.group = Some(entries[group]))?;
    }
    same(of(store.members(&[entries[0]])?), vec![entries[0], entries[1], entries[3]])?;
    same(of(store.members(&[entries[2], none, entries[0]])?), entries.clone())?;
    restate(store, entries[3], |state| state.group = None)?;
    same(of(store.members(&[entries[0]])?), entries[..2].to_vec())
}

/// Each state from an entry on is given in order, until it is enough.
pub fn each_state_goes_on_from_an_entry_until_it_is_stopped(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 5)?;
    let mut given = Vec::new();
    store.each_state(i64::MIN, &mut |state| {
        given.push(state.entry);
        Ok(true)
    })?;
    same(&given, &entries)?;
    given.clear();
    store.each_state(entries[1], &mut |state| {
        given.push(state.entry);
        Ok(given.len() < 3)
    })?;
    same(given, entries[1..4].to_vec())?;
    holds(store.each_state(0, &mut |_| anyhow::bail!("enough")).is_err())
}

/// Rows that are to be read are given in order with their states, from an entry on, at most so many at once.
pub fn unread_rows_are_given_in_pages(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 5)?;
    let page = |store: &dyn Store, from: i64, most: usize| -> Result<Vec<i64>> {
        let page = store.unread(from, most, usize::MAX)?;
        for unread in &page {
            let row = unread.row.as_ref().map(|row| (row.entry, row.revision, row.arrived));
            same(row, Some((unread.state.entry, unread.state.revision, unread.state.arrived)))?;
        }
        Ok(page.iter().map(|unread| unread.state.entry).collect())
    };
    same(page(store, 0, 2)?, entries[..2].to_vec())?;
    same(page(store, entries[1] + 1, 10)?, entries[2..].to_vec())?;
    read(store, entries[1], Some(Reason::NoPlan))?;
    same(page(store, 0, 2)?, vec![entries[0], entries[2]])?;
    // Another plan: it is to be read anew, and stands where it stood meanwhile.
    restate(store, entries[1], |state| state.unread = true)?;
    same(page(store, 0, 2)?, entries[..2].to_vec())?;
    same(state(store, entries[1])?.reason, Some(Reason::NoPlan))?;
    same(page(store, entries[4] + 1, 2)?, Vec::new())
}

/// A page of unread rows ends with its bytes, and never before its first row.
pub fn a_page_of_unread_rows_ends_with_its_bytes(store: &mut dyn Store) -> Result<()> {
    const EACH: usize = 100_000;
    let body = "x".repeat(EACH);
    for n in 0..10 {
        write(store, &WrittenRow { body: Some(body.clone()), ..lost(&n.to_string()) })?;
    }
    let (mut from, mut given, mut pages) = (0, 0, 0);
    loop {
        let page = store.unread(from, 100, EACH * 3 / 2)?;
        let Some(last) = page.last() else { break };
        holds(page.len() < 10)?;
        (from, given, pages) = (last.state.entry + 1, given + page.len(), pages + 1);
    }
    same(given, 10)?;
    holds(pages > 1)
}

/// What is due at a moment is given in the order of being due, then of entries, and page after page.
pub fn what_is_due_is_given_in_its_order_and_in_pages(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 5)?;
    same(store.due(at(1000), false, None, 10)?, Vec::new())?;
    for (n, due) in [(0, 30), (1, 10), (2, 20), (3, 10), (4, 40)] {
        restate(store, entries[n], |state| (state.unread, state.due) = (false, Some(at(due))))?;
    }
    let due = |n: usize, ms: i64| Due { due: at(ms), entry: entries[n] };
    let in_order = vec![due(1, 10), due(3, 10), due(2, 20), due(0, 30)];
    same(store.due(at(30), false, None, 10)?, in_order.clone())?;
    same(store.due(at(30), false, None, 2)?, in_order[..2].to_vec())?;
    same(store.due(at(30), false, Some(due(1, 10)), 2)?, in_order[1..3].to_vec())?;
    same(store.due(at(30), false, Some(due(0, 30)), 2)?, Vec::new())?;
    same(store.due(at(9), false, None, 10)?, Vec::new())?;
    same([store.count_due(at(9))?, store.count_due(at(10))?, store.count_due(at(40))?], [0, 2, 5])?;
    restate(store, entries[1], |state| state.due = None)?;
    same(store.due(at(10), false, None, 10)?, vec![due(3, 10)])?;
    same(store.count_due(at(40))?, 4)
}

/// A verdict under watch is due apart from what a look can settle; one whose group was joined since can be settled.
pub fn verdicts_under_watch_are_due_apart_from_what_can_be_settled(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 4)?;
    let statuses = [Status::Pending, Status::Resolved, Status::DuplicateRisk, Status::Resolved];
    for (&entry, status) in entries.iter().zip(statuses) {
        restate(store, entry, |state| (state.status, state.due) = (Some(status), Some(at(0))))?;
    }
    restate(store, entries[3], |state| state.joined = Some(state.entry))?;
    let of = |watched| -> Result<Vec<i64>> {
        Ok(store.due(at(0), watched, None, 10)?.iter().map(|due| due.entry).collect())
    };
    same(of(false)?, vec![entries[0], entries[3]])?;
    same(of(true)?, vec![entries[1], entries[2]])?;
    same(store.count_due(at(0))?, 4)
}

/// The next due is that of a pending entry that waiting can help: of this server, and whose controls held.
pub fn the_next_due_is_one_that_waiting_can_help(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 5)?;
    same(store.next_due()?, None)?;
    let stands = [
        (Status::Pending, Some(Reason::OtherEnvironment)),
        (Status::Pending, Some(Reason::Uncontrolled)),
        (Status::Resolved, Some(Reason::ConfirmedAbsent)),
        (Status::Pending, Some(Reason::Unsettled)),
        (Status::Pending, None),
    ];
    for (n, (status, reason)) in stands.into_iter().enumerate() {
        let due = i64::try_from(n)?;
        restate(store, entries[n], |state| {
            (state.status, state.reason, state.due) = (Some(status), reason, Some(at(due)));
        })?;
    }
    same(store.next_due()?, Some(at(3)))?;
    restate(store, entries[3], |state| state.due = None)?;
    same(store.next_due()?, Some(at(4)))?;
    restate(store, entries[4], |state| state.status = Some(Status::Resolved))?;
    same(store.next_due()?, None)
}

/// Entries are counted by status and reason, in the order of the words; `answered` rows are not.
pub fn entries_are_counted_by_status_and_reason(store: &mut dyn Store) -> Result<()> {
    same(store.counts()?, Vec::new())?;
    let entries = several(store, 5)?;
    write(store, &answered("answered"))?;
    let stands = [
        (Status::DuplicateRisk, Some(Reason::Expired)),
        (Status::Resolved, Some(Reason::Present)),
        (Status::Resolved, Some(Reason::Present)),
        (Status::Pending, Some(Reason::Unsettled)),
    ];
    for (&entry, (status, reason)) in entries.iter().zip(stands) {
        restate(store, entry, |state| (state.status, state.reason) = (Some(status), reason))?;
    }
    same(
        store.counts()?,
        vec![
            (Status::Pending, None, 1),
            (Status::Pending, Some(Reason::Unsettled), 1),
            (Status::Resolved, Some(Reason::Present), 2),
            (Status::DuplicateRisk, Some(Reason::Expired), 1),
        ],
    )
}

/// The sums say what the states say one by one.
pub fn sums_are_those_of_the_states(store: &mut dyn Store) -> Result<()> {
    same(store.stats()?, Stats::default())?;
    let entries = several(store, 3)?;
    same(store.stats()?, Stats { pending: true, ..Stats::default() })?;
    for (&entry, sent) in entries.iter().zip([at(5), at(3), at(1)]) {
        restate(store, entry, |state| (state.unread, state.sent) = (false, Some(sent)))?;
    }
    restate(store, entries[2], |state| state.status = Some(Status::Resolved))?;
    let oldest = Stats { oldest_pending: Some(at(3)), pending: true, settled: true, duplicate_risk: false };
    same(store.stats()?, oldest)?;
    for entry in &entries[..2] {
        restate(store, *entry, |state| state.status = Some(Status::DuplicateRisk))?;
    }
    let settled = Stats { settled: true, duplicate_risk: true, ..Stats::default() };
    same(store.stats()?, settled)?;
    // An answer is evidence and waits for nothing.
    write(store, &answered("answered"))?;
    same(store.stats()?, settled)
}

/// A key leads to the group that was put for it last, and nowhere once it was dropped; those that lead somewhere are listed.
pub fn keys_lead_to_the_group_that_was_put_last(store: &mut dyn Store) -> Result<()> {
    let keys: [Key; 4] = [0, 7, i64::MAX, 8];
    same(store.groups(&keys)?, vec![None; 4])?;
    within(store, |store| store.put_keys(&[(0, 1), (7, 2), (i64::MAX, 2)]))?;
    same(store.groups(&keys)?, vec![Some(1), Some(2), Some(2), None])?;
    same(store.groups(&[i64::MAX, 8, 0, 0])?, vec![Some(2), None, Some(1), Some(1)])?;
    within(store, |store| store.put_keys(&[(7, 1)]))?;
    within(store, |store| store.drop_keys(&[0, 8]))?;
    same(store.groups(&keys)?, vec![None, Some(1), Some(2), None])?;
    same(store.groups(&[])?, Vec::new())?;
    let mut all = Vec::new();
    store.each_key(&mut |key, group| {
        all.push((key, group));
        Ok(())
    })?;
    same(all, vec![(7, 1), (i64::MAX, 2)])
}

/// A merged group's keys and members are the other's from then on, through every further merge.
pub fn a_merged_groups_keys_and_members_are_the_others(store: &mut dyn Store) -> Result<()> {
    let entries = several(store, 4)?;
    let [a, b, c, d] = entries[..] else { anyhow::bail!("four rows were written") };
    for entry in &entries {
        restate(store, *entry, |state| state.group = Some(state.entry))?;
    }
    within(store, |store| store.put_keys(&[(1, a), (2, b), (3, c), (4, d)]))?;
    within(store, |store| store.merge(c, b))?;
    within(store, |store| store.put_keys(&[(33, b)]))?;
    within(store, |store| store.merge(b, a))?;
    same(store.groups(&[1, 2, 3, 33, 4])?, vec![Some(a), Some(a), Some(a), Some(a), Some(d)])?;
    let of =
        |group: i64| -> Result<Vec<i64>> { Ok(store.members(&[group])?.iter().map(|state| state.entry).collect()) };
    same(of(a)?, vec![a, b, c])?;
    same([of(b)?, of(c)?, of(d)?], [vec![], vec![], vec![d]])?;
    let states = store.states(&[a, b, c])?;
    holds(states.iter().all(|state| state.group == Some(a) && state.revision == 0 && state.unread))?;
    // Nothing happens to a group that is none.
    within(store, |store| store.merge(c, d))?;
    same(store.groups(&[3, 4])?, vec![Some(a), Some(d)])
}
