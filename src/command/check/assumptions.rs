//! What the plan rests on and no document says, against the answers about the known keys and the random ones.

use anyhow::Result;

use super::findings::Findings;
use crate::config::Config;
use crate::http::Transport;
use crate::lookup::{Lookups, Shared};
use crate::plan::Assumption;
use crate::plan::search::Found;
use crate::words::Control;

/// Whether an assumption is borne out.
enum Borne {
    Out,
    /// The answers show otherwise, or do not show it.
    Not(&'static str),
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
    let mut out = 0;
    for assumption in assumptions {
        let borne = borne(config, lookups, assumption).await;
        out += usize::from(matches!(borne, Borne::Out));
        if !in_full {
            continue;
        }
        let Assumption { says, ask, .. } = assumption;
        let says = says.as_ref();
        match borne {
            Borne::Out => findings.good(format!("assumed, and so it is: {says}"))?,
            Borne::Not(why) => findings.note(format!("assumed, but {why}: {says} (ask: {ask})"))?,
            Borne::Unseen(why) => findings.note(format!("assumed, and {why}: {says} (ask: {ask})"))?,
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

async fn borne<T: Transport>(config: &Config, lookups: &Lookups<'_, T>, assumption: &Assumption) -> Borne {
    let Some(lookup) = &assumption.lookup else { return Borne::Unseen("no read can show it") };
    let host = config.plan.lookups.get(lookup).and_then(|lookup| lookup.host.as_deref());
    if config.base_of(host).is_none() {
        return Borne::Unseen("the configuration does not name its host");
    }
    let Ok(controls) = lookups.controls(lookup).await else { return Borne::Unseen("the server gave no answer") };
    if assumption.shows.is_empty() {
        return match controls.random {
            Control::Held => Borne::Out,
            Control::Contradicted => Borne::Not("a random key was found"),
            Control::Unanswered | Control::Missing => Borne::Not("a random key is answered otherwise"),
        };
    }
    let known = config.controls.iter().filter(|control| control.lookup == *lookup);
    let mut asked = false;
    for control in known {
        let Ok(sighting) = lookups.look_up(lookup, &control.key, &Shared::default()).await else { continue };
        let Found::Record { document, .. } = sighting.found else { continue };
        asked = true;
        if assumption.shows.iter().any(|path| path.first(&document).is_some()) {
            return Borne::Out;
        }
    }
    if asked { Borne::Not("the known record does not show it") } else { Borne::Unseen("no known key shows it yet") }
}
