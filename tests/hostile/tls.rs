//! Servers under certificates of every kind: the good path over real TLS, and everything that must not be talked to. The
//! certificates are made by the `openssl` program; without it these tests say so and pass.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::judge::{HUSH, Line, Trial, honest, is_true, limited_run};
use crate::util::{After, CANARY, Dir, Entry, Hostile, Setup, rows, said};

const ENTRIES: usize = 6;

/// Makes the certificates of the tests: an authority, another one that nobody trusts, and what they signed.
const MAKE: &str = r#"set -eu
authority() { # name
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
signed() { # name, authority, subjectAltName, start, end
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "$3" >"$1.ext"
  : >"$1.index"
  printf '[ca]\ndefault_ca=c\n[c]\nnew_certs_dir=.\ndatabase=%s.index\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' "$1" >"$1.cnf"
  openssl ca -batch -notext -config "$1.cnf" -cert "$2.pem" -keyfile "$2.key" -in "$1.csr" -out "$1.pem" -extfile "$1.ext" \
    -startdate "$4" -enddate "$5"
}
authority trusted
authority other
here=IP:127.0.0.1,DNS:localhost
signed good trusted "$here" 20200101000000Z 20491231235959Z
signed expired trusted "$here" 20200101000000Z 20200201000000Z
signed future trusted "$here" 20480101000000Z 20491231235959Z
signed elsewhere trusted IP:127.0.0.2,DNS:api.example 20200101000000Z 20491231235959Z
signed unknown other "$here" 20200101000000Z 20491231235959Z
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=127.0.0.1 -keyout self.key -out self.pem \
  -addext "subjectAltName=$here"
"#;

/// A folder of certificates. `None` where there is no `openssl`.
fn certificates() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: there is no openssl on this machine");
        return None;
    }
    let made = Command::new("/bin/sh").args(["-c", MAKE]).current_dir(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(folder)
}

fn under(folder: &Path, name: &str) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

fn port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A ledger for this server, with its token from another one. `trusts`: the authority is in the configuration.
fn dir_for(url: &str, token_url: &str, authority: Option<&Path>, timeout: &str) -> Dir {
    let controls = format!("[[control]]\nlookup = \"account-by-email\"\nkey = \"{CANARY}\"\n");
    let ca = authority.map(|file| format!("\nca_file = \"{}\"", file.display())).unwrap_or_default();
    let setup = Setup {
        controls,
        server: format!("timeout = \"{timeout}\"{ca}"),
        token_url: format!("{token_url}/oauth/token"),
        ..Setup::bare(url)
    };
    let dir = Dir::new(&setup);
    std::fs::write(dir.file("secret"), HUSH).unwrap();
    for n in 0..ENTRIES {
        dir.insert(&Entry::register(&format!("r{n}"), url, &format!("child{n}@secret.example")));
    }
    dir
}

/// What the runs against a server that must not be talked to came to.
fn refused(dir: &Dir, servers: &[&Hostile], form: &str) -> Line {
    // Who hangs up or is silent says nothing of certificates.
    let names_certificate = !["closed", "reset", "silence"].contains(&form);
    let mut trial = Trial::default();
    let ran = limited_run(dir, &["run"], &mut trial);
    trial.sees(&ran);
    trial.check_that(ran.code == 4, || format!("{ran:?}"));
    let shown = ran.err.contains("server.ca_file");
    trial.check_that(shown == names_certificate, || format!("{ran:?}"));
    // Nothing of a request is sent before the server has shown who it is.
    let asked: usize = servers.iter().map(|server| server.asked().len()).sum();
    trial.requests = asked;
    trial.check_that(asked == 0, || format!("{asked} requests arrived"));
    for row in rows(&limited_run(dir, &["report"], &mut trial).out) {
        if said(&row) != "pending . inconclusive wait" {
            trial.wrong.push(said(&row));
        }
    }
    let mut line = Line::default();
    line.take(1, 0, form, trial);
    line
}

#[test]
fn the_good_path_works_over_tls() {
    let Some(folder) = certificates() else { return };
    let server = Hostile::at(port(), Some(under(folder.path(), "good")), |asked, _| honest(asked));
    let dir = dir_for(&server.url, &server.url, Some(&folder.path().join("trusted.pem")), "1m");
    dir.runs(4);
    dir.due();
    let ran = dir.runs(0);
    assert_eq!(ran.err, "");
    for (n, row) in dir.report().iter().enumerate() {
        assert!(row["status"] == "resolved" && is_true(row, n, false), "{row:?}");
    }
    assert_eq!(dir.run(&["check"]).code, 0);
}

/// Everything that a client must not talk to; the figures of the documentation.
pub fn bad() -> Option<Vec<(&'static str, Line)>> {
    let folder = certificates()?;
    let (folder, mut lines) = (folder.path(), Vec::new());
    let trusted = folder.join("trusted.pem");
    let plain = Hostile::start(|asked, _| honest(asked));
    let mut line = Line::default();
    for (name, authority) in [
        ("good", None),
        ("self", Some(&trusted)),
        ("unknown", Some(&trusted)),
        ("elsewhere", Some(&trusted)),
        ("expired", Some(&trusted)),
        ("future", Some(&trusted)),
    ] {
        let server = Hostile::at(port(), Some(under(folder, name)), |asked, _| honest(asked));
        let dir = dir_for(&server.url, &server.url, authority.map(|file| file.as_path()), "1m");
        line.join(refused(&dir, &[&server], name));
    }
    lines.push(("certificates: of no known authority, self-signed, of another host, expired, of the future", line));
    let mut line = Line::default();
    // No TLS at all where it should be; garbage; a connection that is closed or says nothing.
    for (form, bytes, after) in [
        ("plain HTTP", &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"[..], After::Close),
        ("an alert", b"\x15\x03\x03\x00\x02\x02\x28", After::Close),
        ("garbage", &[0x16, 3, 3, 0xff, 0xff, 1, 2, 3], After::Close),
        ("closed", b"", After::Close),
        ("reset", b"", After::Reset),
        ("silence", b"", After::Hang),
    ] {
        let (url, end) = talks(bytes, after);
        let dir = dir_for(&url, &url, Some(&trusted), "1s");
        line.join(refused(&dir, &[], form));
        end();
    }
    lines.push(("no TLS where it should be: plain HTTP, garbage, closed, silent", line));
    // The token is had over plain HTTP on this machine; then the API turns out to be somebody else.
    let server = Hostile::at(port(), Some(under(folder, "unknown")), |asked, _| honest(asked));
    let dir = dir_for(&server.url, &plain.url, Some(&trusted), "1m");
    let line = refused(&dir, &[&server], "after the token");
    lines.push(("a bad certificate once the token is there", line));
    Some(lines)
}

/// Says these bytes to whoever connects. Gives its URL, and what ends it.
fn talks(bytes: &'static [u8], after: After) -> (String, impl FnOnce()) {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicBool, Ordering};
    let listener = TcpListener::bind(port()).unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    let thread = std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(2)));
            if after != After::Reset {
                let _ = stream.read(&mut [0; 16_384]);
            }
            let _ = stream.write_all(bytes);
            if after == After::Hang {
                held.push(stream);
            }
        }
    });
    let end = move || {
        stopping.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(address);
        let _ = thread.join();
    };
    (format!("https://{address}"), end)
}
