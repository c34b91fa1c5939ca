//! journald, by its native protocol: one datagram for each entry, its fields as `NAME=value` lines or, where a value has
//! lines of its own, with the value's length before it.

use std::io;
use std::path::Path;

use tracing::Level;

use super::line::Line;

/// journald takes no longer datagram from everyone; a longer message is cut.
const LONGEST_MESSAGE: usize = 48 * 1024;

/// A way to journald.
#[derive(Debug)]
pub struct Journal {
    #[cfg(unix)]
    socket: std::os::unix::net::UnixDatagram,
}

impl Journal {
    /// Finds journald.
    ///
    /// # Errors
    /// When it does not listen there.
    #[cfg(unix)]
    pub fn open(path: &Path) -> io::Result<Journal> {
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.connect(path)?;
        // The job never waits for its log.
        socket.set_nonblocking(true)?;
        Ok(Journal { socket })
    }

    /// There is none on this system.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(unix))]
    pub fn open(_: &Path) -> io::Result<Journal> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Sends an entry; one that journald does not take is lost.
    pub fn send(&self, line: &Line) {
        #[cfg(unix)]
        let _ = self.socket.send(&entry(line));
        #[cfg(not(unix))]
        let _ = entry(line);
    }
}

/// The entry's fields. Those of the job bear its name, so that none is taken for one of journald's.
fn entry(line: &Line) -> Vec<u8> {
    let priority = match line.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let mut bytes = Vec::new();
    put(&mut bytes, "MESSAGE", &line.message);
    put(&mut bytes, "PRIORITY", &priority.to_string());
    put(&mut bytes, "SYSLOG_IDENTIFIER", "privo-reconcile");
    if let Some(event) = &line.event {
        put(&mut bytes, "PRIVO_EVENT", event);
    }
    if let Some(run) = line.run {
        put(&mut bytes, "PRIVO_RUN", &run.to_string());
    }
    for (name, value) in &line.fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        put(&mut bytes, &format!("PRIVO_{}", name.to_ascii_uppercase()), &text);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    let end = (0..=value.len().min(LONGEST_MESSAGE)).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    let value = &value[..end];
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::clock::Moment;

    #[test]
    fn an_entry_arrives_with_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::open(&path).is_err());
        let journald = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let line = Line {
            at: Moment(0),
            level: Level::WARN,
            event: Some("alert".to_owned()),
            run: Some(7),
            message: "two\nlines".to_owned(),
            fields: vec![("name", serde_json::json!("old")), ("count", serde_json::json!(3))],
        };
        Journal::open(&path).unwrap().send(&line);
        let mut bytes = [0; 1024];
        let read = journald.recv(&mut bytes).unwrap();
        let expected = b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=4\nSYSLOG_IDENTIFIER=privo-reconcile\n\
            PRIVO_EVENT=alert\nPRIVO_RUN=7\nPRIVO_NAME=old\nPRIVO_COUNT=3\n";
        assert_eq!(bytes[..read].escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
