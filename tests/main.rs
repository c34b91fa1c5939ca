//! The laws: what each file proves stands in its first lines. They are one program, for linking sixty takes minutes.
//!
//! `cargo test --test laws` runs them all, `cargo test --test laws NAME::` those of one file.

mod util;

mod afterwards;
mod calls;
mod campaign;
mod cases;
mod children;
mod clocks;
mod contract;
mod controls;
mod crontab;
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
mod near_records;
mod notice;
mod outputs;
mod pace;
mod page;
mod pages;
mod plans;
mod readers;
mod reads;
mod record;
mod recorder;
mod report;
mod retention;
mod same_record;
mod schedule;
mod schedule_campaign;
mod shared_ids;
mod side_by_side;
mod simulation;
mod spreadsheets;
mod structure;
mod verdicts;
mod wire;
mod writers;
