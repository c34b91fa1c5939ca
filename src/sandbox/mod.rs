//! A look-alike of both generations of the PRIVO Platform's API over real HTTP on
//! loopback, which knows the truth: for rehearsing an outage and for tests.
//!
//! [`World`] is the pure part: a [`Request`] and a moment in, a [`Reply`] out, without
//! sockets or clocks, deterministic by its seed. [`Sandbox`] puts it behind a TCP listener.
//! [`Faults`] says what goes wrong how often, and [`Habits`] how the server differs from its documents; the header `x-sandbox-fate` forces the
//! [`Fate`] of one request, and `x-sandbox-request` names the request, so that the
//! [`Truth`] can say what it really did.
//!
//! State is in memory only. Late applications are worked out from timestamps when a request
//! or the truth is read, never by timers, so that days pass in a simulation at no cost.
//!
//! Where PRIVO's documents are silent, what is answered here is an assumption: the deletion
//! paths of the gateway, the shape of a 404, and which fields the profile shows.

mod by_hand;
mod consent;
mod control;
mod fated;
mod faults;
mod gateway;
mod habits;
mod mutation;
mod records;
mod routes;
mod server;
mod tokens;
mod truth;
mod wire;
mod world;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod endpoint_tests;
#[cfg(test)]
mod fate_tests;
#[cfg(test)]
mod habit_tests;
#[cfg(test)]
mod server_tests;

pub use by_hand::{BY_HAND, NewAccount, Repair};
pub use faults::{BIG_BODY_LIMIT, Fate, Faults, Flapping, Hostile};
pub use habits::{Absent, Habits, Search, ShownDate, ShownName};
pub use records::{Account, Attribute, Consent, Details, Feature, Generation, Kind, State, Way};
pub use server::{Sandbox, Settings};
pub use truth::{Applied, Blocked, Mails, Truth, Upcoming};
pub use wire::{CAUSE_HEADER, Delivery, FATE_HEADER, Reply, Request};
pub use world::{Partner, World};
