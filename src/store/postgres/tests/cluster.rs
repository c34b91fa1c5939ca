//! A PostgreSQL of the test's own, in a temporary folder, as an ordinary user; and a PgBouncer before it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// An ordinary user, for PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A program, where Debian or the path has it.
pub fn program(name: &str) -> Option<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = installed.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    #[expect(clippy::disallowed_methods, reason = "where programs are is the environment's to say")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.push(PathBuf::from("/usr/sbin"));
    folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command of the ordinary user's.
fn as_nobody(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that the ordinary user may write to.
fn folder() -> TempDir {
    let all = std::fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("postgres-").permissions(all).tempdir().unwrap();
    if is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    folder
}

/// Waits until something is so, as long as a slow machine may take.
pub fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it did not come about");
}

/// A server.
pub struct Cluster {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes one and starts it. `None`: there is no PostgreSQL here.
    pub fn start(settings: &[&str]) -> Option<Cluster> {
        let (Some(program), Some(initdb)) = (program("postgres"), program("initdb")) else {
            eprintln!("skipped: PostgreSQL is not installed here");
            return None;
        };
        let folder = folder();
        let mut command = as_nobody(&initdb);
        command.args(["-A", "trust", "-U", "owner", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = command.arg(folder.path().join("data")).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Cluster { folder, program, port: free_port(), settings, server: None };
        cluster.run();
        Some(cluster)
    }

    /// Starts the server again.
    pub fn run(&mut self) {
        let mut command = as_nobody(&self.program);
        command.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "max_connections=60"]);
        for setting in &self.settings {
            command.arg("-c").arg(setting.replace("FOLDER", self.folder.path().to_str().unwrap()));
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap());
        let ready = program("pg_isready").unwrap();
        until(|| {
            let mut ask = Command::new(&ready);
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).status().unwrap().success()
        });
    }

    /// Settings for the next start.
    pub fn set(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    }

    /// Kills it as a crash does (`pg_ctl stop -m immediate`).
    pub fn crash(&mut self) {
        self.stop(Signal::QUIT);
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            let _ = kill_process(Pid::from_child(&server), signal);
            let _ = server.wait();
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> String {
        self.address_of("owner", "127.0.0.1")
    }

    pub fn address_of(&self, user: &str, host: &str) -> String {
        format!("postgres://{user}@{host}:{}/postgres", self.port)
    }

    pub fn socket_address(&self) -> String {
        let folder = self.folder.path().to_str().unwrap().replace('/', "%2F");
        self.address_of("owner", &folder)
    }

    /// Puts a key and a certificate for `localhost` where the server finds them. False: nothing here makes them.
    pub fn certify(folder: &Path) -> bool {
        let Some(openssl) = program("openssl") else { return false };
        let made = Command::new(openssl)
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(folder.join("server.key"))
            .arg("-out")
            .arg(folder.join("server.crt"))
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            return false;
        }
        let key = folder.join("server.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            chown(&key, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        true
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Signal::INT);
    }
}

/// A pooler in transaction mode: each transaction gets whichever of two connections is free.
pub struct Pooler {
    _folder: TempDir,
    pooler: Child,
    port: u16,
}

impl Pooler {
    /// Starts one. `None`: there is none here.
    pub fn start(cluster: &Cluster) -> Option<Pooler> {
        let Some(program) = program("pgbouncer") else {
            eprintln!("skipped: PgBouncer is not installed here");
            return None;
        };
        let (folder, port) = (folder(), free_port());
        let mut config = String::new();
        let _ = writeln!(
            config,
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=owner\n[pgbouncer]\nlisten_addr = 127.0.0.1
listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2
server_reset_query_always = 1\nserver_reset_query = DISCARD ALL\nlogfile = {}/log",
            cluster.port,
            folder.path().display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, config).unwrap();
        let mut command = as_nobody(&program);
        command.arg("-q").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pooler = Pooler { _folder: folder, pooler: command.spawn().unwrap(), port };
        until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(pooler)
    }

    pub fn address(&self) -> String {
        format!("postgres://owner@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.pooler.kill();
        let _ = self.pooler.wait();
    }
}
