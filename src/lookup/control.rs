//! Controls: lookups whose answers are known beforehand, asked before any other answer is believed.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Lookups, Shared, Stop};
use crate::clock::{Moment, Span};
use crate::config::Known;
use crate::http::Transport;
use crate::plan::Lookup;
use crate::plan::observe::Sighting;
use crate::plan::parts::normalise;
use crate::plan::search::{Found, shows_its_key};
use crate::plan::template::Vars;
use crate::words::{Compared, Control};

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

/// A shorter key is too common to be asked for without a letter.
const LONG_ENOUGH: usize = 8;

/// How the controls of one lookup went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Controls {
    /// The configured known key is present.
    pub known: Control,
    /// A random key is absent.
    pub random: Control,
    /// Keys that are nearly the known one are absent. [`Control::Missing`]: not asked, or records show their keys.
    pub near: Control,
    /// The known record shows what the configuration says, so that every comparison of the plan is proved.
    /// [`Control::Missing`]: nothing is configured; [`Control::Unanswered`]: not every compared field was shown.
    pub fields: Control,
    /// Why one of them got no answer.
    pub cause: Option<String>,
    /// One was answered 401 or 403: it is the credentials that do not do, not the plan.
    #[serde(skip)]
    pub shut_out: bool,
}

impl Controls {
    fn unanswered(&mut self, which: &str, why: &str) -> Control {
        self.cause = Some(format!("{which} key: {why}"));
        Control::Unanswered
    }

    /// How long they need not be asked again.
    fn fresh_for(&self) -> Span {
        let unanswered = [self.known, self.random, self.near].contains(&Control::Unanswered);
        if unanswered { STALE_UNANSWERED } else { FRESH }
    }

    /// Whether anything that is looked up may be believed at all.
    pub fn usable(&self) -> bool {
        let held = |control| matches!(control, Control::Held | Control::Missing);
        self.random == Control::Held && held(self.known) && held(self.near) && self.fields != Control::Contradicted
    }

    /// What is wrong with a server whose answer to a control was the opposite of the expected one, and what to do.
    pub fn contradiction(&self) -> Option<&'static str> {
        if self.random == Control::Contradicted {
            Some("a random key was found, so no answer can be believed; check base_url and the plan's present answer")
        } else if self.known == Control::Contradicted {
            Some(
                "the configured known key was not found, so no answer can be believed; check base_url and the control's key",
            )
        } else if self.near == Control::Contradicted {
            Some(
                "a key that is nearly the known one was found: this lookup finds by parts of the key; give it `record.key` in the \
                 plan, or an exact search (if another account bears that key, name others by `near` of the control)",
            )
        } else if self.fields == Control::Contradicted {
            Some(
                "the known record shows another value than the control's `fields` say, so no comparison can be believed; check them, \
                 and `as` of the plan's fields",
            )
        } else {
            None
        }
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
            Some((asked, controls)) if fresh(*asked, self.watch.now().clock, controls.fresh_for()) => {
                Ok(controls.clone())
            }
            before => {
                // How a server searches does not change within a run.
                let near = before.as_ref().map(|(_, controls)| controls.near).filter(|near| *near == Control::Held);
                let controls = self.ask_controls(lookup, near).await?;
                *cell = Some((self.watch.now().clock, controls.clone()));
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

    async fn ask_controls(&self, lookup: &str, near: Option<Control>) -> Result<Controls, Stop> {
        let mut controls = Controls {
            known: Control::Missing,
            random: Control::Missing,
            near: Control::Missing,
            fields: Control::Missing,
            cause: None,
            shut_out: false,
        };
        let key = self.random_key(lookup).map_err(Stop::Fatal)?;
        let sighting = self.ask_control(lookup, &key).await?;
        controls.shut_out |= sighting.shut_out;
        controls.random = match sighting.found {
            Found::Absent => Control::Held,
            Found::Record { .. } => Control::Contradicted,
            Found::Inconclusive(why) => controls.unanswered("random", &why),
        };
        for control in self.config.controls.iter().filter(|control| control.lookup == lookup) {
            let sighting = self.ask_control(lookup, &control.key).await?;
            controls.shut_out |= sighting.shut_out;
            let found = sighting.found;
            let this = match (&found, &control.member) {
                (Found::Inconclusive(why), _) => controls.unanswered("known", why),
                (Found::Absent, _) => Control::Contradicted,
                (Found::Record { .. }, None) => Control::Held,
                (Found::Record { document, .. }, Some(member)) => self.lists(lookup, document, member),
            };
            if this == Control::Held && !control.fields.is_empty() {
                let proved = self.proves(control, &found);
                let worse = controls.fields == Control::Missing || proved == Control::Contradicted;
                controls.fields = if worse { proved } else { controls.fields };
            }
            // Of several known keys the worst counts.
            controls.known =
                if controls.known == Control::Missing || this != Control::Held { this } else { controls.known };
            match near {
                Some(near) => controls.near = near,
                // Nothing more can be learned of a server that knows everybody.
                None if controls.random != Control::Held => {}
                None => self.ask_near(control, &found, &mut controls).await?,
            }
        }
        Ok(controls)
    }

    /// Keys that are nearly the known one find nothing, unless the lookup is a search by parts, and would find somebody else's
    /// record. Where the record shows the key that it was looked up by, every answer says by itself which record it is about.
    async fn ask_near(&self, control: &Known, known: &Found, controls: &mut Controls) -> Result<(), Stop> {
        let lookup = self.config.plan.lookup(&control.lookup).map_err(Stop::Fatal)?;
        let Found::Record { document, .. } = known else { return Ok(()) };
        if shows_its_key(lookup, document) {
            return Ok(());
        }
        for key in near_keys(lookup, control) {
            let mut sighting = self.ask_control(&control.lookup, &key).await?;
            if sighting.refused && matches!(sighting.found, Found::Inconclusive(_)) {
                // A page in the way says nothing of the key; a server that takes it for no valid key says so again.
                sighting = self.ask_control(&control.lookup, &key).await?;
            }
            let this = match &sighting.found {
                Found::Absent => Control::Held,
                Found::Record { .. } => Control::Contradicted,
                // It may be no valid key.
                Found::Inconclusive(_) if sighting.refused => Control::Held,
                Found::Inconclusive(why) => controls.unanswered("near", why),
            };
            let weight = |control| match control {
                Control::Missing => 0,
                Control::Held => 1,
                Control::Unanswered => 2,
                Control::Contradicted => 3,
            };
            controls.near = if weight(this) > weight(controls.near) { this } else { controls.near };
        }
        Ok(())
    }

    /// Asks for a control's key, again while no answer comes.
    async fn ask_control(&self, lookup: &str, key: &str) -> Result<Sighting, Stop> {
        let mut nap = FIRST_NAP;
        let mut of_no_use = 0;
        for _ in 1..TRIES {
            let sighting = self.look_up(lookup, key, &Shared::default()).await?;
            let useless = !sighting.failed && !sighting.refused && matches!(sighting.found, Found::Inconclusive(_));
            of_no_use += u32::from(useless);
            if !sighting.failed && !useless || of_no_use >= TRIES_OF_NO_USE {
                return Ok(sighting);
            }
            // The first of them may be one page in the way: at once.
            if of_no_use != 1 || !useless {
                tokio::time::sleep(nap).await;
                nap = (nap * 2).min(Duration::from_secs(2));
            }
        }
        self.look_up(lookup, key, &Shared::default()).await
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

    /// Whether the known record shows what the configuration says, in every field that the plan compares.
    fn proves(&self, control: &Known, found: &Found) -> Control {
        let Found::Record { document, .. } = found else { return Control::Unanswered };
        let shape = &self.config.plan.lookups[&control.lookup].record;
        let id = |item: &serde_json::Value| shape.id.as_ref().and_then(|path| path.text(item));
        let record = match (&shape.list, &control.member) {
            (Some(list), Some(member)) => list
                .first(document)
                .and_then(|list| list.as_array())
                .and_then(|list| list.iter().find(|item| id(item).as_deref() == Some(member))),
            _ => Some(document),
        };
        let Some(record) = record else { return Control::Unanswered };
        let compared = shape.fields.iter().map(|(name, field)| field.compare(control.fields.get(name), record));
        let compared: Vec<Compared> = compared.collect();
        if compared.contains(&Compared::Differs) {
            Control::Contradicted
        } else if compared.contains(&Compared::NotShown) {
            Control::Unanswered
        } else {
            Control::Held
        }
    }

    /// A key that nobody bears.
    pub(super) fn random_key(&self, lookup: &str) -> Result<String> {
        let plan = &self.config.plan;
        let mut vars: Vars = plan.params().clone();
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(20).collect();
        vars.insert("random".to_owned(), random.to_ascii_lowercase());
        vars.insert("random_digits".to_owned(), (0..12).map(|_| fastrand::digit(10)).collect());
        vars.insert("random_uuid".to_owned(), random_uuid());
        plan.lookup(lookup)?
            .random
            .fill(&vars, str::to_owned)
            .context("the random key of a lookup has an unknown variable")
    }
}

/// A random UUID (RFC 9562, 5.4): some servers answer a key of another form with an error of its own.
fn random_uuid() -> String {
    let random = (fastrand::u128(..) & !(0xf << 76 | 0x3 << 62)) | (0x4 << 76 | 0x2 << 62);
    let digits = format!("{random:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Young enough; a clock that was set back makes it old.
fn fresh(asked: Moment, now: Moment, longest: Span) -> bool {
    let age = now.since(asked);
    age >= Span::ZERO && age < longest
}

/// The keys that are nearly a control's, and that no account is thought to bear.
fn near_keys(lookup: &Lookup, control: &Known) -> Vec<String> {
    if let Some(named) = &control.near {
        return named.clone();
    }
    let key = control.key.trim();
    if key.chars().count() < LONG_ENOUGH {
        return Vec::new();
    }
    let (mut without_first, mut without_last) = (key.chars(), key.chars());
    without_first.next();
    without_last.next_back();
    let normal = |key: &str| normalise(&lookup.normalise, key);
    let near = [without_first.as_str(), without_last.as_str()];
    near.into_iter().filter(|near| normal(near) != normal(key)).map(str::to_owned).collect()
}
