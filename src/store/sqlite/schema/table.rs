//! The table `entries` itself: whether it keeps what the contract says, and how it is made anew when it does not.
//!
//! SQLite tells a column's name, but not how a unique key meets a row that is there already, so the statement that made the
//! table is read: the definitions between its parentheses, apart at the commas.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rusqlite::Connection;

use crate::exit::Refused;

/// So many rows are named in a message, at the most.
const SHOWN: usize = 5;

/// What is wrong with a table that was not made by the wanted statement; `None`: it only has more than that.
pub(super) fn fault(connection: &Connection, path: &Path, table: &str, wanted: &str) -> Result<Option<&'static str>> {
    let (its, ours) = (definitions(table), columns_of(&definitions(wanted)));
    let there = not_null(connection)?;
    for (column, definition) in &ours {
        if !there.contains_key(column) {
            let definition = definition.split_whitespace().collect::<Vec<_>>().join(" ");
            bail!(Refused(format!(
                "the table `entries` of the ledger {} has lost its column `{column}` (add it again: `{definition}`)",
                path.display()
            )));
        }
    }
    // No optional column may be required of writers, nor of what removes personal fields.
    let required = |column: &String| ["request_id", "method", "url", "sent_at", "id"].contains(&column.as_str());
    Ok(if !its.iter().any(|definition| ignores_repeats(definition)) || there.get("request_id") != Some(&true) {
        Some("its unique key on `request_id`, at which a repeated INSERT changes nothing")
    } else if !squeezed(table).contains("AUTOINCREMENT") {
        Some("AUTOINCREMENT of `id`, without which an id could be used twice")
    } else if ours.keys().any(|column| there.get(column) == Some(&true) && !required(column)) {
        Some("NULL in an optional column")
    } else {
        None
    })
}

/// The columns that are there, and whether they may not be NULL.
fn not_null(connection: &Connection) -> Result<BTreeMap<String, bool>> {
    let mut statement = connection.prepare("SELECT lower(name), \"notnull\" FROM pragma_table_xinfo('entries')")?;
    let columns = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(columns.collect::<rusqlite::Result<_>>()?)
}

/// Makes the table anew within the caller's transaction: this version's columns, and the partner's own as they were, with
/// whatever else they had on it. Its triggers and indexes that are not the partner's are left to the caller.
pub(super) fn rebuild(connection: &Connection, path: &Path, wanted: &str, ours: impl Fn(&str) -> bool) -> Result<()> {
    refuse_repeats(connection, path)?;
    let table: String =
        connection.query_row("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'entries'", [], |row| {
            row.get(0)
        })?;
    let partners: Vec<String> = {
        let mut statement = connection.prepare(
            "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'entries' AND type IN ('index', 'trigger') AND sql IS NOT NULL",
        )?;
        let all = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
        all.filter(|object| !object.as_ref().is_ok_and(|(name, _)| ours(name)))
            .map(|object| object.map(|(_, sql)| sql))
            .collect::<rusqlite::Result<_>>()?
    };
    let (mut kept, mut rest): (Vec<String>, Vec<String>) = (definitions(wanted), Vec::new());
    let known = columns_of(&kept);
    for definition in definitions(&table) {
        match name_of(&definition) {
            Some(column) if known.contains_key(&column) => {}
            Some(_) => kept.push(definition),
            None if squeezed(unnamed(&definition)).starts_with("PRIMARYKEY(") || is_our_key(&definition) => {}
            None => rest.push(definition),
        }
    }
    kept.append(&mut rest);
    // What SQLite works out by itself cannot be copied.
    let columns: Vec<String> = {
        let mut statement = connection.prepare("SELECT name FROM pragma_table_xinfo('entries') WHERE hidden = 0")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?;
        names
            .map(|name| name.map(|name| format!("\"{}\"", name.replace('"', "\"\""))))
            .collect::<rusqlite::Result<_>>()?
    };
    let columns = columns.join(", ");
    // The old way of renaming touches no view and no table of the partner's that names this one.
    connection
        .execute_batch(&format!(
            "PRAGMA legacy_alter_table = ON;
         CREATE TABLE entries_made_anew ({});
         INSERT INTO entries_made_anew ({columns}) SELECT {columns} FROM entries ORDER BY rowid;
         DROP TABLE entries;
         ALTER TABLE entries_made_anew RENAME TO entries;
         PRAGMA legacy_alter_table = OFF;",
            kept.join(", ")
        ))
        .context("failed to make the table `entries` anew (give it the columns and keys of schema.sql again)")?;
    for sql in partners {
        connection.execute_batch(&sql).context("failed to make an index or trigger of your own on `entries` anew")?;
    }
    Ok(())
}

/// A key that stands twice, or not at all, is nothing that the job could choose between.
fn refuse_repeats(connection: &Connection, path: &Path) -> Result<()> {
    let mut statement = connection.prepare(
        "SELECT max(id) FROM entries GROUP BY request_id HAVING count(*) > 1 OR request_id IS NULL ORDER BY 1 LIMIT ?",
    )?;
    let rows = statement.query_map([SHOWN + 1], |row| row.get::<_, Option<i64>>(0))?;
    let rows: Vec<Option<i64>> = rows.collect::<rusqlite::Result<_>>()?;
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = rows.iter().flatten().take(SHOWN).map(i64::to_string).collect();
    let more = if rows.len() > SHOWN { ", …" } else { "" };
    bail!(Refused(format!(
        "the table `entries` of the ledger {} has lost its unique key, and rows have the request_id of another one, or none: id {}{more} (give each of them a request_id of its own by UPDATE)",
        path.display(),
        ids.join(", ")
    )));
}

/// Its columns by their names in small letters.
fn columns_of(definitions: &[String]) -> BTreeMap<String, String> {
    definitions.iter().filter_map(|one| Some((name_of(one)?, one.clone()))).collect()
}

/// The column that a definition makes, in small letters; `None`: it is a constraint of the table.
fn name_of(definition: &str) -> Option<String> {
    let text = definition.trim_start();
    let close = match text.chars().next()? {
        '"' => '"',
        '`' => '`',
        '[' => ']',
        _ => {
            let word: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let constraint = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
            return (!constraint.contains(&word.to_ascii_uppercase().as_str())).then(|| word.to_lowercase());
        }
    };
    Some(text.chars().skip(1).take_while(|c| *c != close).collect::<String>().to_lowercase())
}

/// A constraint without its name.
fn unnamed(definition: &str) -> &str {
    let text = definition.trim_start();
    let named = text.get(..10).is_some_and(|word| word.eq_ignore_ascii_case("CONSTRAINT"));
    let at = |word: &str| text.to_ascii_uppercase().find(word);
    let from = if named { [at("PRIMARY"), at("UNIQUE"), at("CHECK"), at("FOREIGN")] } else { [None; 4] };
    &text[from.into_iter().flatten().min().unwrap_or(0)..]
}

/// Whether a definition is a unique key on `request_id` alone, made apart from the column.
fn is_our_key(definition: &str) -> bool {
    name_of(definition).is_none() && squeezed(unnamed(definition)).starts_with("UNIQUE(REQUEST_ID)")
}

/// Whether by this definition a repeated `request_id` changes nothing.
fn ignores_repeats(definition: &str) -> bool {
    let squeezed = squeezed(unnamed(definition));
    match name_of(definition) {
        Some(column) => column == "request_id" && squeezed.contains("UNIQUEONCONFLICTIGNORE"),
        None => squeezed == "UNIQUE(REQUEST_ID)ONCONFLICTIGNORE",
    }
}

/// In capitals, without white space and quotes.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !"\"`[]".contains(*c)).collect::<String>().to_uppercase()
}

/// What stands between the outer parentheses of a statement, apart at its commas, without comments.
fn definitions(sql: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let (mut depth, mut letters) = (0, sql.chars().peekable());
    while let Some(letter) = letters.next() {
        let until = match letter {
            '\'' | '"' | '`' => Some(letter),
            '[' => Some(']'),
            _ => None,
        };
        let next = letters.peek().copied();
        let mut taken = String::from(letter);
        if let Some(end) = until {
            for quoted in letters.by_ref() {
                taken.push(quoted);
                if quoted == end {
                    break;
                }
            }
        } else if letter == '-' && next == Some('-') {
            letters.by_ref().take_while(|c| *c != '\n').for_each(drop);
            taken = String::from(' ');
        } else if letter == '/' && next == Some('*') {
            let mut before = ' ';
            letters.by_ref().take_while(|c| std::mem::replace(&mut before, *c) != '*' || *c != '/').for_each(drop);
            taken = String::from(' ');
        }
        match letter {
            '(' if depth == 0 => (depth, taken) = (1, String::new()),
            '(' => depth += 1,
            ')' if depth == 1 => break,
            ')' => depth -= 1,
            ',' if depth == 1 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth > 0
            && let Some(last) = found.last_mut()
        {
            last.push_str(&taken);
        }
    }
    found.into_iter().map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_stand_apart_at_the_commas_of_the_table_itself() {
        let sql = "CREATE TABLE \"a (b\" ( id INTEGER, -- one, two\n \"x,y\" TEXT DEFAULT 'it''s, (', /* n, m */ CHECK (a IN (1, 2)) ) STRICT";
        assert_eq!(definitions(sql), ["id INTEGER", "\"x,y\" TEXT DEFAULT 'it''s, ('", "CHECK (a IN (1, 2))"]);
    }

    #[test]
    fn a_unique_key_is_ours_only_when_it_ignores_repeats() {
        for (definition, ignores) in [
            ("request_id TEXT NOT NULL UNIQUE ON CONFLICT IGNORE", true),
            ("\"request_id\" text not null\n unique  on conflict ignore", true),
            ("CONSTRAINT \"one of each\" UNIQUE (\"request_id\") ON CONFLICT IGNORE", true),
            ("UNIQUE (request_id)", false),
            ("UNIQUE (request_id, tenant) ON CONFLICT IGNORE", false),
            ("request_id TEXT NOT NULL UNIQUE", false),
            ("operation_id TEXT UNIQUE ON CONFLICT IGNORE", false),
        ] {
            assert_eq!(ignores_repeats(definition), ignores, "{definition}");
        }
    }
}
