//! The laws: what each file proves stands in its first lines. They are one program, for linking sixty takes minutes.
//!
//! `cargo test --test laws` runs them all, `cargo test --test laws NAME::` those of one file.

mod afterwards;
mod calls;
mod campaign;
mod cases;
mod children;
mod clocks;
mod config_keys;
mod contract;
mod controls;
mod corrected_plans;
mod crontab;
#[cfg(feature = "postgres")]
mod database_writers;
mod deletes;
mod demo;
mod deploy;
mod doctor;
mod effects;
mod environments;
mod erasure;
mod exit_codes;
mod golden;
mod histories;
mod import;
mod import_files;
mod intents;
mod joining;
mod json;
mod kill;
mod layer;
mod leaks;
mod logs;
#[cfg(feature = "postgres")]
mod moved;
mod near_records;
mod notice;
mod other_apis;
mod outputs;
mod pace;
mod page;
mod pages;
mod place;
mod plans;
#[cfg(feature = "postgres")]
mod postgres;
mod readers;
mod reads;
mod rebuilt;
mod record;
mod recorder;
mod report;
mod resend;
mod resending;
mod retention;
mod same_record;
mod schedule;
mod schedule_campaign;
mod shared_ids;
mod side_by_side;
mod simulation;
mod spreadsheets;
mod structure;
mod util;
mod verdicts;
mod wire;
mod writers;
