//! Who is at work: the user, as the operating system names it. The environment could say anything, so it is not asked.

/// The user's name; where the system has none, its number; where there is no such thing, nobody's.
pub fn name() -> String {
    #[cfg(unix)]
    if let Some(id) = user_id() {
        return named(id).unwrap_or_else(|| format!("user {id}"));
    }
    "unknown".to_owned()
}

/// The owner of a file that this process makes.
#[cfg(unix)]
fn user_id() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(tempfile::tempfile().ok()?.metadata().ok()?.uid())
}

#[cfg(unix)]
fn named(id: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_named_as_the_system_does() {
        let shown = std::process::Command::new("id").arg("-un").output();
        let Ok(shown) = shown else {
            eprintln!("skipped: there is no `id`");
            return;
        };
        let shown = String::from_utf8(shown.stdout).unwrap();
        let by_number = format!("user {}", user_id().unwrap());
        assert!([shown.trim(), &by_number].contains(&name().as_str()), "{}", name());
    }
}
