//! Where a configuration is looked for, and what stood there: `check` explains it, and so does the error when none is
//! found.

use std::path::{Path, PathBuf};

use super::environment;

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    There,
    Missing,
    /// It cannot be said, and why: say, a folder that this user may not enter.
    Hidden(String),
}

/// One place.
#[derive(Clone, Debug)]
pub struct Place {
    pub path: PathBuf,
    pub found: Found,
}

/// All places, in the order in which they were looked at. The first that is there is used.
#[derive(Clone, Debug)]
pub struct Places {
    pub looked: Vec<Place>,
    /// By `--config`, and nowhere else is looked.
    pub named: bool,
}

impl Places {
    /// Looks at the named place, or at the usual ones: the current folder, the user's, the machine's.
    pub fn look(named: Option<&Path>) -> Places {
        let paths = named.map_or_else(usual, |path| vec![path.to_owned()]);
        let found = |path: &Path| match path.try_exists() {
            Ok(true) => Found::There,
            Ok(false) => Found::Missing,
            Err(error) => Found::Hidden(error.kind().to_string()),
        };
        let looked = paths.into_iter().map(|path| Place { found: found(&path), path }).collect();
        Places { looked, named: named.is_some() }
    }

    /// The one that is used: a named one in any case, so that its absence is said by its name.
    pub fn chosen(&self) -> Option<&Path> {
        let place = self.looked.iter().find(|place| self.named || place.found == Found::There);
        place.map(|place| place.path.as_path())
    }

    /// Those that are there too, behind the chosen one.
    pub fn unused(&self) -> impl Iterator<Item = &Path> {
        let there = self.looked.iter().filter(|place| place.found == Found::There);
        there.map(|place| place.path.as_path()).skip(1)
    }

    /// The order and what was found, for people.
    pub fn shown(&self) -> String {
        let one = |place: &Place| match &place.found {
            Found::There => format!("{} is there", place.path.display()),
            Found::Missing => format!("{} is not", place.path.display()),
            Found::Hidden(why) => format!("{} cannot be looked at ({why})", place.path.display()),
        };
        self.looked.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn usual() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from("privo-reconcile.toml")];
    let home = || environment("HOME").map(|home| PathBuf::from(home).join(".config"));
    // A relative XDG_CONFIG_HOME is to be ignored, says its specification.
    let users = environment("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute()).or_else(home);
    places.extend(users.map(|folder| folder.join("privo-reconcile/config.toml")));
    places.push(PathBuf::from("/etc/privo-reconcile/config.toml"));
    places
}
