//! What became of a request that ended in a network error or a 5xx? This crate finds out, for partners of the PRIVO
//! Platform, without ever sending anything but reads.
//!
//! # The story of one entry
//!
//! 1. A partner's service registers a child, and the answer never comes. It inserts one row into the [`ledger`]: the
//!    *entry*. It may be written in any language; `schema.sql` is the contract.
//! 2. [`run`] takes the row in. The [`plan`] says what it means: which *operation* it is, which *effects* it should have
//!    had, by which keys the server can be asked for them. What was read is stored without personal values, as
//!    [`evidence`], with links to whatever must be decided together with it.
//! 3. The group's keys go to the [`lookup`]s, the one concurrent stage, at the pace that the server bears. Before
//!    anything is believed, controls are asked: a known key must be there, a random one must not.
//! 4. What was seen becomes observations: present, absent, several, or inconclusive. [`decide`], pure and total, makes of
//!    them a verdict with its reason and action, or says why it is too early and not before when it can know more.
//! 5. Observations and verdict go back into the ledger in one transaction. An entry that was settled as not applied stays
//!    under watch; a record that turns up late corrects it, loudly.
//! 6. The [`report`] is made of the ledger alone: CSV for people who must resend, store an id, or ask PRIVO support.
//!
//! The rest serves that story: [`import`] takes in what was written down elsewhere, [`words`] are the field's terms,
//! [`views`] is what the ledger tells, [`config`], [`cli`], [`command`] and [`exit`] are the way in and out, [`http`] and
//! [`clock`] are the edges, [`mistake`] tells errors in files, [`mask`] keeps children's data out of what is shown,
//! [`pseudonym`] gives them names to speak of them by, [`notice`], [`log`] and [`document`] make it heard, [`schedule`] says
//! when the job runs by its own clock, [`ids`] says which texts are no ids, [`outputs`] writes files whole and never over what the job reads, `inputs` reads small files,
//! `leftovers` sweeps what a kill left, [`recording`] is for a partner's own code,
//! [`sandbox`] is a server that knows the truth; `demo` plays an outage against it.

pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod decide;
pub mod document;
pub mod evidence;
pub mod exit;
pub mod http;
pub mod ids;
pub mod import;
mod inputs;
pub mod ledger;
mod leftovers;
pub mod log;
pub mod lookup;
pub mod mask;
pub mod mistake;
pub mod notice;
pub mod outputs;
pub mod plan;
pub mod pseudonym;
pub mod recording;
pub mod report;
mod retention;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod store;
pub mod views;
pub mod words;
