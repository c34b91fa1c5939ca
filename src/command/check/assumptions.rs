//! What the plan rests on and no document says, against the answers about the known keys and the random ones.

use anyhow::Result;

use super::findings::Findings;
use crate::config::Config;
use crate::http::Transport;
use crate::lookup::{Lookups, Shared};
use crate::plan::Assumption;
use crate::plan::search::Found;
use crate::words::Control;

/// Whether the answers show what is assumed.
enum Shown {
    So,
    /// The answers show otherwise, or do not show it.
    NotSo(&'static str),
    /// Nothing was asked that could show it.
    Unseen(&'static str),
}

/// Says each of them, or in one line how many are borne out.
pub async fn check<T: Transport>(
    config: &Config,
    lookups: &Lookups<'_, T>,
    in_full: bool,
    findings: &mut Findings,
) -> Result<()> {
    let assumptions = &config.plan.assumptions;
    // What several of them ask for is asked once.
    let shared = Shared::default();
    let mut out = 0;
    for assumption in assumptions {
        let found = shown(config, lookups, &shared, assumption).await;
        out += usize::from(matches!(found, Shown::So));
        if !in_full {
            continue;
        }
        let Assumption { says, ask, .. } = assumption;
        let says = says.as_ref();
        match found {
            Shown::So => findings.good(format!("assumed, and so it is: {says}"))?,
            Shown::NotSo(why) => findings.note(format!("assumed, but {why}: {says} (ask: {ask})"))?,
            Shown::Unseen(why) => findings.note(format!("assumed, and {why}: {says} (ask: {ask})"))?,
        }
    }
    let left = assumptions.len() - out;
    if !in_full && left > 0 {
        findings.good(format!(
            "assumptions of the plan: the answers bear {out} of {} out (`check --assumptions` lists them, with what to ask for the rest)",
            assumptions.len()
        ))?;
    }
    Ok(())
}

async fn shown<T: Transport>(
    config: &Config,
    lookups: &Lookups<'_, T>,
    shared: &Shared,
    assumption: &Assumption,
) -> Shown {
    let Some(lookup) = &assumption.lookup else { return Shown::Unseen("no read can show it") };
    let host = config.plan.lookups.get(lookup).and_then(|lookup| lookup.host.as_deref());
    if config.base_of(host).is_none() {
        return Shown::Unseen("the configuration does not name its host");
    }
    let Ok(controls) = lookups.controls(lookup).await else { return Shown::Unseen("the server gave no answer") };
    if assumption.shows.is_empty() {
        return match controls.random {
            Control::Held => Shown::So,
            Control::Contradicted => Shown::NotSo("a random key was found"),
            Control::Unanswered | Control::Missing => Shown::NotSo("a random key is answered otherwise"),
        };
    }
    let known = config.controls.iter().filter(|control| control.lookup == *lookup);
    let mut asked = false;
    for control in known {
        let Ok(sighting) = lookups.look_up(lookup, &control.key, shared).await else { continue };
        let Found::Record { document, .. } = sighting.found else { continue };
        asked = true;
        if assumption.shows.iter().any(|path| path.first(&document).is_some()) {
            return Shown::So;
        }
    }
    if asked { Shown::NotSo("the known record does not show it") } else { Shown::Unseen("no known key shows it yet") }
}
