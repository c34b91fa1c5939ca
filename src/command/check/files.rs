//! Files and folders: who may read and write them, and whether there is room.
//!
//! A mode that lets everybody in is harmless in a folder that not everybody may enter; only what can be reached counts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{Access, access, statvfs};

use super::findings::Findings;
use crate::config::{Auth, Config, Credential};
use crate::notice::Notices;
use crate::outputs;

/// With less room than this beside the ledger, or than the ledger takes itself, it is time to look. In bytes.
const LITTLE_ROOM: u64 = 256 * 1024 * 1024;

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const GROUP_INHERITED: u32 = 0o2000;

pub fn check(config: &Config, findings: &mut Findings) -> Result<()> {
    configuration(config, findings)?;
    secrets(config, findings)?;
    config.ledger.file().map_or(Ok(()), |path| ledger(path, findings))?;
    if let Some(folder) = &config.report_dir {
        report_folder(folder, findings)?;
    }
    notices(config, findings)
}

fn configuration(config: &Config, findings: &mut Findings) -> Result<()> {
    let Some(mode) = mode_for_others(&config.file) else { return Ok(()) };
    let place = config.file.display();
    if mode & OTHERS_WRITE != 0 {
        findings.bad(format!(
            "configuration {place}: everybody may change where the credentials are sent (chmod o-w {place})"
        ))?;
    }
    let id = config.auths().flat_map(Auth::credentials).find_map(Credential::written);
    let ping = config.notices.ping.as_ref().and_then(|ping| ping.url.written());
    for (what, written) in [("a name to log in with", id), ("the ping's URL", ping)] {
        if mode & OTHERS_READ != 0 && written.is_some() {
            findings.note(format!("configuration {place}: everybody may read {what} in it (chmod o-r {place})"))?;
        }
    }
    Ok(())
}

fn secrets(config: &Config, findings: &mut Findings) -> Result<()> {
    let auth = config.auths().flat_map(Auth::credentials);
    let ping = config.notices.ping.iter().map(|ping| &ping.url);
    for file in auth.chain(ping).filter_map(Credential::file) {
        let place = file.display();
        match mode_for_others(&file) {
            Some(mode) if mode & (OTHERS_READ | OTHERS_WRITE) != 0 => {
                findings.bad(format!("credential {place}: everybody may read or change it (chmod 0600 {place})"))?;
            }
            Some(_) => findings.good(format!("credential {place}: kept from others"))?,
            // That it is missing is said where it is read.
            None => {}
        }
    }
    Ok(())
}

/// What a run tells others by. It does its work without, so nothing here is worse than a note.
fn notices(config: &Config, findings: &mut Findings) -> Result<()> {
    let Notices { ping, metrics, hook, .. } = &config.notices;
    if let Some(Err(error)) = ping.as_ref().map(|ping| ping.url.read()) {
        findings.note(format!("ping: {error:#}"))?;
    }
    if let Some(file) = metrics {
        let folder = outputs::folder_of(file);
        if may_write_in(folder) {
            findings.good(format!("metrics {}: its folder may be written", file.display()))?;
        } else {
            findings.note(format!(
                "metrics {}: this user may not write its folder (make it, or chown it; under systemd it needs ReadWritePaths=)",
                file.display()
            ))?;
        }
    }
    // A bare name is looked for on the path of whoever runs the job.
    let program = hook.as_ref().and_then(|hook| hook.command.first()).filter(|program| program.contains('/'));
    if let Some(program) = program {
        if Path::new(program).is_file() && access(program.as_str(), Access::EXEC_OK).is_ok() {
            findings.good(format!("hook {program}"))?;
        } else {
            findings.note(format!(
                "hook {program}: this user may not execute it (is the path right? chmod a+x {program})"
            ))?;
        }
    }
    Ok(())
}

fn ledger(path: &Path, findings: &mut Findings) -> Result<()> {
    let Ok(path) = path.canonicalize() else { return Ok(()) };
    let (Some(folder), Ok(file)) = (path.parent(), path.metadata()) else { return Ok(()) };
    let place = path.display();
    let before = findings.troubles();
    if file.uid() != ROOT && Path::new("/proc/self").metadata().is_ok_and(|this| this.uid() == ROOT) {
        findings.note("this check is root's, who may write anything: whether the job's user may is not known (check as that user)")?;
    }
    if let Some(mode) = mode_for_others(&path) {
        if mode & OTHERS_WRITE != 0 {
            findings
                .bad(format!("ledger {place}: everybody may write it, and so forge evidence (chmod o-rw {place})"))?;
        } else if mode & OTHERS_READ != 0 {
            findings.note(format!(
                "ledger {place}: everybody may read it, and it holds children's data (chmod o-r {place})"
            ))?;
        }
    }
    let shared = ledger_folder(folder, findings)?;
    if shared && file.mode() & GROUP_WRITES == 0 {
        findings.bad(format!(
            "ledger {place}: its folder is the group's, but the group may not write it (chmod 0660 {place})"
        ))?;
    }
    for beside in ["-wal", "-shm"].map(|suffix| outputs::with_suffix(&path, suffix)) {
        let Ok(there) = beside.metadata() else { continue };
        let place = beside.display();
        if access(&beside, Access::READ_OK | Access::WRITE_OK).is_err() {
            findings.bad(format!("{place}: this user may not write it (chown and chmod it as the ledger is)"))?;
        } else if shared && (there.mode() & GROUP_WRITES == 0 || there.gid() != file.gid()) {
            findings
                .bad(format!("{place}: the ledger's group may not write it (chown and chmod it as the ledger is)"))?;
        }
    }
    room(folder, file.len(), findings)?;
    if findings.troubles() == before {
        findings.good(format!("files of the ledger: {place} {:04o}, its folder {:04o}", mode(&path), mode(folder)))?;
    }
    Ok(())
}

/// Says whether the folder is meant for a group of writers.
fn ledger_folder(folder: &Path, findings: &mut Findings) -> Result<bool> {
    let place = folder.display();
    if !may_write_in(folder) {
        findings.bad(format!(
            "folder {place}: this user may not write it, and so not the ledger (check as the job's user; chown it, or chmod 2770 with a common group)"
        ))?;
    }
    let mode = mode(folder);
    if mode & STICKY == 0 && mode_for_others(folder).is_some_and(|mode| mode & OTHERS_WRITE != 0) {
        findings.bad(format!("folder {place}: everybody may replace the ledger in it (chmod o-w {place})"))?;
    }
    let group = mode & GROUP_INHERITED != 0;
    if group && mode & GROUP_WRITES == 0 {
        findings.bad(format!(
            "folder {place}: it hands its group on, but the group may not write there, which every writer must (chmod 2770 {place})"
        ))?;
    }
    Ok(group && mode & GROUP_WRITES != 0)
}

fn report_folder(folder: &Path, findings: &mut Findings) -> Result<()> {
    let place = folder.display();
    let writable =
        folder.ancestors().map(or_here).find(|above| above.exists()).is_some_and(|above| may_write_in(&above));
    match (writable, folder.exists()) {
        (false, _) => {
            findings.bad(format!("report.dir {place}: this user may not write there (chown it, or name another)"))
        }
        (true, true) => findings.good(format!("report.dir {place}")),
        (true, false) => findings.good(format!("report.dir {place}: the first report makes it")),
    }
}

fn room(folder: &Path, ledger_bytes: u64, findings: &mut Findings) -> Result<()> {
    let Ok(room) = statvfs(folder) else { return Ok(()) };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if is_little(free, ledger_bytes) {
        findings.note(format!(
            "folder {}: {} MiB are free; a ledger grows with every look (make room, or move it)",
            folder.display(),
            free / 1024 / 1024
        ))?;
    }
    Ok(())
}

fn is_little(free_bytes: u64, ledger_bytes: u64) -> bool {
    free_bytes < LITTLE_ROOM.max(ledger_bytes)
}

fn may_write_in(folder: &Path) -> bool {
    folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn mode(path: &Path) -> u32 {
    path.metadata().map_or(0, |file| file.mode() & 0o7777)
}

/// The mode of a file that everybody can reach; `None` when it is not there, or a folder above it keeps others out.
fn mode_for_others(path: &Path) -> Option<u32> {
    let path = path.canonicalize().ok()?;
    let open = |folder: &Path| folder.metadata().is_ok_and(|folder| folder.mode() & 0o001 != 0);
    Some(if path.ancestors().skip(1).all(open) { mode(&path) } else { mode(&path) & !0o007 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_another_ledger_is_enough_and_never_less_than_a_little() {
        const MIB: u64 = 1024 * 1024;
        for (free, ledger, little) in
            [(255, 1, true), (256, 1, false), (256, 256, false), (300, 301, true), (0, 0, true)]
        {
            assert_eq!(is_little(free * MIB, ledger * MIB), little, "{free} {ledger}");
        }
    }
}
