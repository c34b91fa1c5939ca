//! The shim, built once, and what it is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What becomes of a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    Before,
    After,
    Torn,
    /// With a seed; none: everything that was not synced is lost.
    Lose(u64),
    Full,
    Io,
    Short,
    Half,
}

/// Which boundaries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    All,
    Disk,
    Writes,
    Syncs,
}

/// A fault, of which only the place is not said.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub act: Do,
    pub kinds: Kinds,
    pub lasting: bool,
}

impl Fault {
    pub fn new(act: Do) -> Fault {
        Fault { act, kinds: Kinds::All, lasting: false }
    }

    pub fn of(self, kinds: Kinds) -> Fault {
        Fault { kinds, ..self }
    }

    pub fn lasting(self) -> Fault {
        Fault { lasting: true, ..self }
    }

    /// The process ends with it.
    pub fn kills(&self) -> bool {
        matches!(self.act, Do::Before | Do::After | Do::Torn | Do::Lose(_))
    }

    /// Prepares a command to meet this at its boundary `at` below `folder`.
    pub fn arm(&self, command: &mut Command, folder: &Path, at: usize) {
        let (word, seed) = match self.act {
            Do::Before => ("before", 0),
            Do::After => ("after", 0),
            Do::Torn => ("torn", 0),
            // Another chance at each place.
            Do::Lose(seed) => ("lose", seed * (at as u64 + 1) * 0x9e37_79b9),
            Do::Full => ("full", 0),
            Do::Io => ("io", 0),
            Do::Short => ("short", 0),
            Do::Half => ("half", 0),
        };
        count(command, folder, self.kinds, None);
        command.env("FAULT_AT", at.to_string()).env("FAULT_DO", word).env("FAULT_SEED", seed.to_string());
        if self.lasting {
            command.env("FAULT_LASTING", "1");
        }
    }
}

/// Prepares a command to run under the shim without a fault, and to write its boundaries down. It syncs nothing in
/// earnest, which makes it quick.
pub fn count(command: &mut Command, folder: &Path, kinds: Kinds, log: Option<&Path>) {
    let letters = match kinds {
        Kinds::All => "wsmn",
        Kinds::Disk => "wsm",
        Kinds::Writes => "w",
        Kinds::Syncs => "s",
    };
    preload(command);
    command.env("FAULT_UNDER", folder.canonicalize().unwrap()).env("FAULT_KINDS", letters);
    if let Some(log) = log {
        command.env("FAULT_LOG", log);
    }
}

/// Puts the shim between a command and the C library.
pub fn preload(command: &mut Command) {
    command.env("LD_PRELOAD", built().as_ref().expect("asked for only where the shim is there"));
}

/// Where it is; `None`, said on standard error, where there is no C compiler.
pub fn built() -> &'static Option<PathBuf> {
    static SHIM: OnceLock<Option<PathBuf>> = OnceLock::new();
    SHIM.get_or_init(|| {
        let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (own, whole) = (place.join(format!("faults-{}.so", std::process::id())), place.join("faults.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&own).args([source, "-ldl", "-lpthread"]);
        match compiler.status() {
            Ok(status) => assert!(status.success(), "the shim does not compile"),
            Err(_) => {
                eprintln!("there is no cc: the faults at boundaries were not tried");
                return None;
            }
        }
        std::fs::rename(&own, &whole).unwrap();
        Some(whole)
    })
}
