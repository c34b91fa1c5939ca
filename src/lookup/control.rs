//! Controls: lookups whose answers are known beforehand, asked before any other answer is believed.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Lookups, Shared, Stop};
use crate::clock::{Moment, Span};
use crate::http::Transport;
use crate::plan::parts::Vars;
use crate::plan::search::Found;
use crate::words::Control;

/// Controls are asked again when they are older than this.
const FRESH: Span = Span::seconds(60);

/// Controls that got no answer to rely on are asked again sooner: one page that is no JSON must not cost a minute.
const STALE_UNANSWERED: Span = Span::seconds(5);

/// A control that got an answer of no use (a page that is no JSON) is asked again so often, at once and after a nap: one
/// that is always answered so costs no entry more than this.
const TRIES_OF_NO_USE: u32 = 3;

/// A control that got no answer is asked again so often, for without it nothing can be looked up; the breaker may end
/// that sooner.
const TRIES: u32 = 8;

/// Before the first repetition; it doubles up to two seconds.
const FIRST_NAP: Duration = Duration::from_millis(100);

/// How the controls of one lookup went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Controls {
    /// The configured known key is present.
    pub known: Control,
    /// A random key is absent.
    pub random: Control,
    /// Why one of them got no answer.
    pub cause: Option<String>,
}

impl Controls {
    /// How long they need not be asked again.
    fn fresh_for(&self) -> Span {
        let unanswered = self.known == Control::Unanswered || self.random == Control::Unanswered;
        if unanswered { STALE_UNANSWERED } else { FRESH }
    }

    /// Whether anything that is looked up may be believed at all.
    pub fn usable(&self) -> bool {
        self.random == Control::Held && matches!(self.known, Control::Held | Control::Missing)
    }
}

impl<T: Transport> Lookups<'_, T> {
    /// The controls of a lookup, at most a minute old.
    ///
    /// # Errors
    /// [`Stop::Alone`] or [`Stop::Fatal`].
    pub async fn controls(&self, lookup: &str) -> Result<Controls, Stop> {
        let cell = self.controls.get(lookup).context("unknown lookup").map_err(Stop::Fatal)?;
        let mut cell = cell.lock().await;
        match &*cell {
            Some((asked, controls)) if fresh(*asked, (self.clock)(), controls.fresh_for()) => Ok(controls.clone()),
            _ => {
                let controls = self.ask_controls(lookup).await?;
                *cell = Some(((self.clock)(), controls.clone()));
                Ok(controls)
            }
        }
    }

    /// How each lookup's controls went last, by lookup.
    pub async fn last_controls(&self) -> Vec<(String, Controls)> {
        let mut last = Vec::new();
        for (name, cell) in &self.controls {
            if let Some((_, controls)) = &*cell.lock().await {
                last.push(((*name).to_owned(), controls.clone()));
            }
        }
        last.sort_by(|a, b| a.0.cmp(&b.0));
        last
    }

    async fn ask_controls(&self, lookup: &str) -> Result<Controls, Stop> {
        let mut cause = None;
        let mut unanswered = |why: String| {
            cause = Some(why);
            Control::Unanswered
        };
        let key = self.random_key(lookup).map_err(Stop::Fatal)?;
        let random = match self.ask_control(lookup, &key).await? {
            Found::Absent => Control::Held,
            Found::Record { .. } => Control::Contradicted,
            Found::Inconclusive(why) => unanswered(format!("random key: {why}")),
        };
        let mut known = Control::Missing;
        for control in self.config.controls.iter().filter(|control| control.lookup == lookup) {
            let this = match (self.ask_control(lookup, &control.key).await?, &control.member) {
                (Found::Inconclusive(why), _) => unanswered(format!("known key: {why}")),
                (Found::Absent, _) => Control::Contradicted,
                (Found::Record { .. }, None) => Control::Held,
                (Found::Record { document, .. }, Some(member)) => self.lists(lookup, &document, member),
            };
            // Of several known keys the worst counts.
            known = if known == Control::Missing || this != Control::Held { this } else { known };
        }
        Ok(Controls { known, random, cause })
    }

    async fn ask_control(&self, lookup: &str, key: &str) -> Result<Found, Stop> {
        let mut nap = FIRST_NAP;
        let mut of_no_use = 0;
        for _ in 1..TRIES {
            let sighting = self.look_up(lookup, key, &Shared::default()).await?;
            let useless = !sighting.failed && matches!(sighting.found, Found::Inconclusive(_));
            of_no_use += u32::from(useless);
            if !sighting.failed && !useless || of_no_use >= TRIES_OF_NO_USE {
                return Ok(sighting.found);
            }
            // The first of them may be one page in the way: at once.
            if of_no_use != 1 || !useless {
                tokio::time::sleep(nap).await;
                nap = (nap * 2).min(Duration::from_secs(2));
            }
        }
        Ok(self.look_up(lookup, key, &Shared::default()).await?.found)
    }

    fn lists(&self, lookup: &str, document: &serde_json::Value, member: &str) -> Control {
        let shape = &self.config.plan.lookups[lookup].record;
        let Some(list) = shape.list.as_ref().and_then(|path| path.first(document)?.as_array()) else {
            return if shape.list.is_none() { Control::Held } else { Control::Unanswered };
        };
        let is_it =
            |item: &serde_json::Value| shape.id.as_ref().and_then(|path| path.text(item)).as_deref() == Some(member);
        if list.iter().any(is_it) { Control::Held } else { Control::Contradicted }
    }

    /// A key that nobody bears.
    pub(super) fn random_key(&self, lookup: &str) -> Result<String> {
        let plan = &self.config.plan;
        let mut vars: Vars = plan.params().clone();
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
        vars.insert("random".to_owned(), random.to_ascii_lowercase());
        plan.lookup(lookup)?
            .random
            .fill(&vars, str::to_owned)
            .context("the random key of a lookup has an unknown variable")
    }
}

/// Young enough; a clock that was set back makes it old.
fn fresh(asked: Moment, now: Moment, longest: Span) -> bool {
    let age = now.since(asked);
    age >= Span::ZERO && age < longest
}
