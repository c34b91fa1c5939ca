//! What a request's fate makes of it: whether and when it is applied, and what the
//! partner gets to see.

use serde_json::json;

use super::faults::Fate;
use super::mutation::Mutation;
use super::records::{Doing, Way};
use super::wire::{Answer, CAUSE_HEADER, Delivery, Reply};
use super::world::{Call, Scheduled, World};

impl World {
    /// Answers what changes no record: a read, or the issue of a token.
    pub(super) fn fated_read(
        &mut self,
        call: &mut Call,
        fate: Fate,
        answer: impl Fn(&mut World, &mut Call, i64) -> Answer,
    ) -> Reply {
        match fate {
            Fate::LostBefore | Fate::LostAfter => lost(),
            Fate::HangBefore | Fate::HangAfter => self.hangs(),
            Fate::ErrorBefore | Fate::ErrorAfter => {
                let status = [500, 502, 503, 504][call.rng.usize(..4)];
                Reply::message(status, "incident")
            }
            Fate::Refused => refused(),
            Fate::TooMany => self.too_many(),
            Fate::Unauthorised => Reply::json(401, &json!({ "error": "invalid_client" })),
            Fate::Cut => cut(answer(self, call, call.now_ms).reply()),
            Fate::Hostile(kind) => {
                let honest = answer(self, call, call.now_ms).reply();
                Reply::hostile(kind, honest, self.faults.big_body_bytes)
            }
            Fate::Plain | Fate::Lag { .. } => {
                let behind = if let Fate::Lag { ms } = fate { ms } else { 0 };
                let answer = answer(self, call, call.now_ms.saturating_sub(behind));
                let found_nothing = answer.status == 404;
                if found_nothing { self.records.habits().absent(answer.reply()) } else { answer.reply() }
            }
            Fate::Late { .. } | Fate::Repaired { .. } | Fate::Twice | Fate::Repeated | Fate::Partial(_) => {
                misfit("this fate needs a mutation")
            }
        }
    }

    /// Answers a mutation; `read` is what it asks for, or the answer to a content error.
    pub(super) fn fated_mutation(&mut self, call: &mut Call, read: Result<Mutation, Answer>) -> Reply {
        let children = match &read {
            Ok(Mutation::RegisterFamily { children, .. }) => children.len(),
            _ => 0,
        };
        let fate = match call.forced {
            Some(Fate::Lag { .. }) => return misfit("this fate needs a read"),
            Some(Fate::Partial(_)) if children == 0 => {
                return misfit("this fate needs account/parent with children");
            }
            Some(fate) => fate,
            None => self.faults.throw_mutation(&mut call.rng, children > 0),
        };
        let cause = self.cause_of(call);
        match fate {
            Fate::Refused => refused(),
            Fate::LostBefore | Fate::HangBefore | Fate::ErrorBefore => {
                self.keep_unapplied(cause, read);
                match fate {
                    Fate::LostBefore => lost(),
                    Fate::HangBefore => self.hangs(),
                    _ => Reply::message(503, "Service Unavailable"),
                }
            }
            Fate::Late { ms, lost: is_lost } => {
                self.schedule(call, cause, read, Way::Late, ms);
                match is_lost {
                    true => lost(),
                    false => Reply::message(502, "Bad Gateway"),
                }
            }
            Fate::Repaired { ms } => {
                self.schedule(call, cause, read, Way::Repaired, ms);
                failed()
            }
            Fate::Partial(count) => {
                self.apply_partly(call, cause, read, count);
                failed()
            }
            _ => self.fated_applied(call, &cause, &read, fate),
        }
    }

    /// The fates in which the mutation is applied at once.
    fn fated_applied(&mut self, call: &mut Call, cause: &str, read: &Result<Mutation, Answer>, fate: Fate) -> Reply {
        let honest = self.execute(call, cause, read, Way::AtOnce).reply();
        match fate {
            Fate::LostAfter => lost(),
            Fate::HangAfter => self.hangs(),
            Fate::ErrorAfter => failed(),
            Fate::Twice => {
                self.execute(call, cause, read, Way::Twice);
                lost()
            }
            Fate::Repeated => self.execute(call, cause, read, Way::Twice).reply(),
            Fate::Cut => cut(honest),
            Fate::Hostile(kind) => Reply::hostile(kind, honest, self.faults.big_body_bytes),
            _ => honest,
        }
    }

    fn cause_of(&mut self, call: &Call) -> String {
        match call.request.header(CAUSE_HEADER) {
            Some(cause) => cause.to_owned(),
            None => {
                self.untagged += 1;
                format!("untagged-{}", self.untagged)
            }
        }
    }

    fn execute(&mut self, call: &mut Call, cause: &str, read: &Result<Mutation, Answer>, way: Way) -> Answer {
        let mutation = match read {
            Ok(mutation) => mutation,
            Err(answer) => return answer.clone(),
        };
        let mut doing = Doing { at_ms: call.now_ms, cause, way, rng: &mut call.rng };
        let outcome = mutation.apply(&mut self.records, &mut doing);
        outcome.unwrap_or_else(|refusal| refusal)
    }

    // A content error leaves nothing to apply later, in the following two.

    fn keep_unapplied(&mut self, cause: String, read: Result<Mutation, Answer>) {
        if let Ok(mutation) = read {
            self.unapplied.entry(cause).or_default().push(mutation);
        }
    }

    fn schedule(&mut self, call: &mut Call, cause: String, read: Result<Mutation, Answer>, way: Way, after_ms: i64) {
        let Ok(mutation) = read else { return };
        self.schedulings += 1;
        let at = (call.now_ms.saturating_add(after_ms), self.schedulings);
        let scheduled = Scheduled { mutation, cause, way, rng: call.rng.fork() };
        self.scheduled.insert(at, scheduled);
    }

    /// Registers the parent and the first children only; a repair can add the rest.
    fn apply_partly(&mut self, call: &mut Call, cause: String, read: Result<Mutation, Answer>, count: Option<usize>) {
        let Ok(Mutation::RegisterFamily { parent, children }) = read else {
            return;
        };
        let drawn = call.rng.usize(..children.len().max(1));
        let (applied, left) = children.split_at(count.unwrap_or(drawn).min(children.len()));
        let place = self.records.accounts.len();
        let part = Mutation::RegisterFamily { parent, children: applied.to_vec() };
        self.execute(call, &cause, &Ok(part), Way::AtOnce);
        if let Some(parent) = self.records.accounts.get(place)
            && !left.is_empty()
        {
            let rest = Mutation::AddChildren { parent_sid: parent.service_id.clone(), children: left.to_vec() };
            self.keep_unapplied(cause, Ok(rest));
        }
    }

    fn hangs(&self) -> Reply {
        let ms = self.faults.hang_ms;
        Reply::undelivered(Delivery::Hang { ms })
    }
}

fn lost() -> Reply {
    Reply::undelivered(Delivery::Lost)
}

fn failed() -> Reply {
    Reply::message(500, "Internal Server Error")
}

fn refused() -> Reply {
    Reply::message(400, "refused by the sandbox")
}

fn cut(honest: Reply) -> Reply {
    Reply { delivery: Delivery::Cut, ..honest }
}

/// The answer to a test that asks for a fate which cannot be.
pub(super) fn misfit(message: &str) -> Reply {
    Reply::message(400, &format!("sandbox: {message}"))
}
