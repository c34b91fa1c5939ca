//! What a world has beyond an outage: each twist is one kind of history that real servers, files and partners were seen
//! to make. They are drawn from a generator of their own, so that a world without any plays as it always did.

use std::collections::BTreeSet;

use fastrand::Rng;
use privo_reconcile::sandbox::{Habits, Search, ShownDate, ShownName};

use super::story::{HOUR, MINUTE, SECOND, Story, Trouble};

macro_rules! twists {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// One kind of history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Twist { $($(#[$doc])* $name),* }

        impl Twist {
            pub const ALL: &[Twist] = &[$(Twist::$name),*];

            /// Its word on the command line and in the figures.
            pub fn word(self) -> &'static str {
                match self { $(Twist::$name => $word),* }
            }
        }
    };
}

twists! {
    /// Rows come into the ledger minutes to days after they were sent, in any order.
    LateRows = "late-rows",
    /// Operations are sent again, or asked for under another id, hours and days after their verdict.
    Joins = "joins",
    /// The partner acts upon the report and records what it did well, badly or not at all.
    Advice = "advice",
    /// The partner deletes what it had made, or its owner, and records that.
    Deletes = "deletes",
    /// A retry corrects the body, or leaves a field out, under the same operation id.
    Bodies = "bodies",
    /// Consent is asked for children who have an account.
    KnownPrincipals = "known-principals",
    /// Writers on hosts with clocks of their own.
    Hosts = "hosts",
    /// Looks that last: answers of seconds, 429 with a pause of 15 s.
    SlowLooks = "slow-looks",
    /// `created_at` is stamped by another clock than `Date`.
    TwoClocks = "two-clocks",
    /// Answers bear no `Date`.
    NoDate = "no-date",
    /// The server's clock is an hour behind or ahead.
    ServerHour = "server-hour",
    /// One operation id on the requests of several people.
    SharedIds = "shared-ids",
    /// Intents that went well are deleted by their writer.
    DeletedIntents = "deleted-intents",
    /// Keys with a `+`, keys that are long numbers.
    OddKeys = "odd-keys",
    /// Bodies that say a name twice.
    DoubledNames = "doubled-names",
    /// Records in a parent's list that are nearly the one that is looked for, and twins.
    NearLists = "near-lists",
    /// Names and dates are shown otherwise than they were sent.
    Shown = "shown",
    /// A lookup that finds by parts of the key.
    Search = "search",
    /// A server that ignores case and spaces in keys of which the plan says nothing.
    FoldedKeys = "folded-keys",
    /// Deleted accounts keep their keys.
    SoftDeleted = "soft-deleted",
    /// Records vanish after they were found.
    Vanishing = "vanishing",
    /// Others replace the record under a key before or after a delete of it.
    Replaced = "replaced",
    /// A repeat is refused by 208 or 409, or because of another key; a second child is answered 208.
    Refusals = "refusals",
    /// The partner sends again by permit alone, with several resenders that may crash at any point.
    Permits = "permits",
    /// A migration tool makes the table `entries` anew, without its triggers.
    Rebuilt = "rebuilt",
    /// Rows come from a writer that has the triggers switched off.
    NoTriggers = "no-triggers",
    /// The host's clock is set between looks, and between a permit and what is said of it.
    ClockSteps = "clock-steps",
}

/// These are drawn apart, so that a world that has none of them plays as it did before they were there.
const LATER: [Twist; 4] = [Twist::Permits, Twist::Rebuilt, Twist::NoTriggers, Twist::ClockSteps];

impl Twist {
    /// The twist with this word.
    #[allow(dead_code, reason = "the campaign's command line reads it; the tests do not")]
    pub fn parse(word: &str) -> Result<Twist, String> {
        let known = || Twist::ALL.iter().map(|twist| twist.word()).collect::<Vec<_>>().join(", ");
        let found = Twist::ALL.iter().find(|twist| twist.word() == word);
        found.copied().ok_or_else(|| format!("unknown twist {word} (one of {}, or none)", known()))
    }

    /// Whether a world like this can have it.
    fn fits(self, story: &Story) -> bool {
        use Twist::{Bodies, ClockSteps, DeletedIntents, Hosts, KnownPrincipals, NearLists, NoDate, OddKeys, Rebuilt};
        use Twist::{Refusals, Replaced, ServerHour};
        let none_of = |others: &[Twist]| others.iter().all(|other| !story.has(*other));
        match self {
            // Without triggers nothing keeps an intent that another row of its operation is beside.
            Rebuilt => none_of(&[DeletedIntents]),
            // Other clocks that are off hide what this one does.
            ClockSteps => none_of(&[Hosts, NoDate, ServerHour]),
            KnownPrincipals | Replaced => story.consent,
            Bodies | NearLists | OddKeys | Refusals => !story.consent,
            _ => true,
        }
    }
}

/// Draws the later twists by other numbers than all else.
const APART: u64 = 0x6a09_e667_f3bc_c908;

/// Gives a world its twists: those that are wanted, else some of its own. Three worlds in ten have none.
pub fn give(story: &mut Story, wanted: Option<&BTreeSet<Twist>>, rng: &mut Rng) {
    // A burst is told by the looks within it, and a world that breaks the windows by what comes after them: rows that come
    // at any time would hide both.
    if story.trouble == Trouble::StaleBursts || story.breaks_windows {
        return;
    }
    story.twists = match wanted {
        Some(wanted) => wanted.iter().copied().filter(|twist| twist.fits(story)).collect(),
        None => drawn(story, rng),
    };
    later(story, wanted);
    if !story.twists.is_empty() {
        // What joins a settled group is a twist of its own, so that every other shows by itself.
        story.follows = story.has(Twist::Advice);
    }
    if [Twist::Hosts, Twist::NoDate, Twist::ServerHour].iter().any(|twist| story.twists.contains(twist)) {
        story.steps = false;
    }
    if story.twists.contains(&Twist::NoDate) {
        story.twists.remove(&Twist::ServerHour);
        // Without a `Date` nothing shows a clock that is further off.
        story.skew = rng.i64(-4 * MINUTE..4 * MINUTE);
    }
    if story.has(Twist::ClockSteps) {
        story.steps = true;
        // A clock that was wrong when a client wrote and is right when the job asks cannot be told from the ledger.
        story.skew %= 3 * SECOND;
    }
    if story.has(Twist::Permits) && !story.seed.is_multiple_of(4) {
        // By a clock that is far off nothing is permitted: in most worlds it is not.
        story.skew %= 3 * SECOND;
    }
    story.habits = habits(&story.twists, rng);
    if story.twists.contains(&Twist::Hosts) {
        story.hosts = (0..4).map(|_| host(rng)).collect();
    }
}

fn drawn(story: &Story, rng: &mut Rng) -> BTreeSet<Twist> {
    let count = match rng.u8(..10) {
        0..3 => 0,
        3..7 => 1,
        7 => 2,
        8 => 3,
        _ => 5,
    };
    let earlier = Twist::ALL.iter().copied().filter(|twist| !LATER.contains(twist));
    let mut fitting: Vec<Twist> = earlier.filter(|twist| twist.fits(story)).collect();
    rng.shuffle(&mut fitting);
    fitting.into_iter().take(count).collect()
}

/// Gives a world in three one or two of the later twists; where some are wanted, those of them that fit beside each other.
fn later(story: &mut Story, wanted: Option<&BTreeSet<Twist>>) {
    let mut rng = Rng::with_seed(story.seed.rotate_left(32) ^ APART);
    let some = match wanted {
        Some(wanted) => LATER.into_iter().filter(|twist| wanted.contains(twist)).collect(),
        None if rng.u8(..3) == 0 => (0..rng.u8(1..3)).map(|_| LATER[rng.usize(..LATER.len())]).collect(),
        None => Vec::new(),
    };
    for twist in some {
        story.twists.remove(&twist);
        if twist.fits(story) {
            story.twists.insert(twist);
        }
    }
}

/// A writer's clock that is this far ahead is shown to be by the stamp of arrival, if the row comes at once.
pub const SHOWN: i64 = 3 * MINUTE;

/// What a writer's clock shows more than the store's: within `writer_error`, or so fast that the stamp shows it.
fn host(rng: &mut Rng) -> i64 {
    match rng.u8(..4) {
        0 => rng.i64(SHOWN..HOUR),
        _ => rng.i64(-1990..1990),
    }
}

fn habits(twists: &BTreeSet<Twist>, rng: &mut Rng) -> Habits {
    let mut habits = Habits::default();
    for twist in twists {
        match twist {
            Twist::Deletes => habits.deletes_children = rng.bool(),
            Twist::KnownPrincipals => habits.asks_again = rng.bool(),
            Twist::TwoClocks => habits.made_ahead_ms += rng.i64(-1990..1990),
            Twist::NoDate => habits.no_date = true,
            Twist::ServerHour => {
                let hour = if rng.bool() { HOUR } else { -HOUR };
                habits.date_ahead_ms += hour;
                habits.made_ahead_ms += hour;
            }
            Twist::OddKeys => habits.plus_is_plus = rng.bool(),
            Twist::Shown => {
                use {ShownDate as D, ShownName as N};
                let names = [N::AsSent, N::Capitals, N::Decomposed, N::Entities, N::NoBreak];
                let dates =
                    [D::AsSent, D::Dashed, D::DayBefore, D::DayAfter, D::Dotted, D::Fraction, D::Zeros, D::AsSent];
                habits.names = names[rng.usize(..names.len())];
                habits.dates = dates[rng.usize(..dates.len())];
                habits.shown_otherwise = if rng.bool() { 1.0 } else { 0.5 };
            }
            Twist::Search => habits.search = [Search::Prefix, Search::Part, Search::Ignored][rng.usize(..3)],
            Twist::FoldedKeys => habits.folds_keys = true,
            Twist::SoftDeleted => habits.keeps_deleted_keys = true,
            Twist::Refusals => {
                habits.refuses_with = [412, 208, 409][rng.usize(..3)];
                habits.refuses_names_with = [None, Some(412), Some(409), Some(208)][rng.usize(..4)];
                habits.second_child = if rng.bool() { 208 } else { 201 };
                habits.associates_parents = rng.bool();
            }
            _ => {}
        }
    }
    habits
}
