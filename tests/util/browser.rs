//! Headless Chromium, where it is installed: pages are opened from files, and what they say is read from their console.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::{Ran, finish};

/// A browser that can be started.
pub struct Browser {
    program: &'static str,
}

/// How a content security policy names a block.
pub fn policy_hash(block: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(block.as_bytes())))
}

impl Browser {
    /// The one that is installed. A test without one says so and proves nothing.
    pub fn find() -> Option<Browser> {
        let there = |program: &&str| {
            let mut command = Command::new(program);
            command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(there);
        if found.is_none() {
            eprintln!("skipped: no Chromium is installed");
        }
        found.map(|program| Browser { program })
    }

    /// Opens a file with these arguments, in a window of this size.
    pub fn open(&self, file: &Path, (width, height): (u32, u32), arguments: &[&str]) -> Ran {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(self.program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command
            .arg(format!("--window-size={width},{height}"))
            .args(arguments)
            .arg(format!("file://{}", file.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap())
    }

    /// What a script says when it runs at the end of the page, with its policy and all: the JSON it hands to `say`. A
    /// page that is narrower than a window may be stands in a frame.
    pub fn ask(&self, page: &str, width: u32, script: &str) -> serde_json::Value {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "const say = (said) => console.log(`SAID${{JSON.stringify(said)}}DIAS`); \
             const laid = () => document.body.getBoundingClientRect().height; {script}"
        );
        let allowed = page.replacen("script-src ", &format!("script-src {} ", policy_hash(&script)), 1);
        let probed = allowed.replacen("</body>", &format!("<script>{script}</script></body>"), 1);
        assert_ne!(probed, page, "the page has no policy or no end");
        std::fs::write(folder.path().join("page.html"), probed).unwrap();
        let frame = format!("<!DOCTYPE html><iframe src=\"page.html\" width={width} height=900></iframe>");
        std::fs::write(folder.path().join("frame.html"), frame).unwrap();
        let ran = self.open(&folder.path().join("frame.html"), (width.max(500) + 40, 940), &["--dump-dom"]);
        let said = ran.err.split("SAID").nth(1).and_then(|rest| rest.split("DIAS").next());
        serde_json::from_str(said.unwrap_or_else(|| panic!("{}", ran.err))).unwrap()
    }

    /// A picture of the page.
    pub fn picture(&self, file: &Path, size: (u32, u32), arguments: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let picture: PathBuf = folder.path().join("page.png");
        let out = format!("--screenshot={}", picture.display());
        let ran = self.open(file, size, &[&[out.as_str()], arguments].concat());
        std::fs::read(&picture).unwrap_or_else(|error| panic!("{error}: {}", ran.err))
    }

    /// The page on paper: how many sheets.
    pub fn sheets(&self, file: &Path) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let pdf = folder.path().join("page.pdf");
        let out = format!("--print-to-pdf={}", pdf.display());
        let ran = self.open(file, (1280, 900), &[&out, "--no-pdf-header-footer"]);
        let bytes = std::fs::read(&pdf).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
        let text = String::from_utf8_lossy(&bytes);
        text.matches("/Type /Page").count() - text.matches("/Type /Pages").count()
    }
}
