//! Single values of a configuration, each checked where it is read: so a mistake is told with its line and its key.

use std::fmt;

use chrono_tz::Tz;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use url::Url;

use crate::clock::{Length, Span};

/// An http or https URL without credentials in it.
pub(super) struct WebAddress(pub(super) Url);

impl<'de> Deserialize<'de> for WebAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WebAddress, D::Error> {
        let text = String::deserialize(deserializer)?;
        let url =
            Url::parse(&text).map_err(|_| D::Error::custom("not a URL (write it like \"https://host.example\")"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(D::Error::custom("not an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(D::Error::custom("a URL must not hold credentials (use [auth])"));
        }
        Ok(WebAddress(url))
    }
}

/// An address that paths are put behind: a query would end up in the midst of every URL.
pub(super) fn base<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WebAddress, D::Error> {
    let address = WebAddress::deserialize(deserializer)?;
    if address.0.query().is_some() || address.0.fragment().is_some() {
        return Err(D::Error::custom("a base URL has neither `?` nor `#` (leave out all from there on)"));
    }
    Ok(address)
}

/// Scheme, host and port alone.
pub(super) struct Origin(pub(super) Url);

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Origin, D::Error> {
        let url = base(deserializer)?.0;
        if url.path() != "/" {
            return Err(D::Error::custom("scheme, host and port alone (write it like \"https://old.example\")"));
        }
        Ok(Origin(url))
    }
}

/// Keys that are nearly a control's: a list of them, or `false` for none.
#[derive(Default)]
pub(super) struct NearKeys(pub(super) Option<Vec<String>>);

impl<'de> Deserialize<'de> for NearKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NearKeys, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = NearKeys;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("keys that nothing bears, like [\"canar@partner.example\"], or false")
            }

            fn visit_bool<E>(self, wanted: bool) -> Result<NearKeys, E> {
                Ok(NearKeys(if wanted { None } else { Some(Vec::new()) }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<NearKeys, A::Error> {
                let mut all = Vec::new();
                while let Some(key) = keys.next_element()? {
                    all.push(key);
                }
                Ok(NearKeys(Some(all)))
            }
        }
        deserializer.deserialize_any(Keys)
    }
}

/// A number within limits.
struct Number {
    expected: &'static str,
    fits: fn(f64) -> bool,
}

impl Number {
    fn taken<E: Error>(&self, number: f64) -> Result<f64, E> {
        if (self.fits)(number) { Ok(number) } else { Err(E::custom(format!("must be {}", self.expected))) }
    }
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        self.taken(number)
    }

    #[expect(clippy::cast_precision_loss, reason = "what loses precision is far beyond every limit")]
    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        self.taken(number as f64)
    }
}

/// Requests per second.
pub(super) fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let expected = "a number of more than 0 and at most 1000000";
    deserializer.deserialize_f64(Number { expected, fits: |number| number > 0.0 && number <= 1_000_000.0 })
}

/// Requests in flight.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the limits, and whole")]
pub(super) fn concurrency<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let fits = |number: f64| (1.0..=1024.0).contains(&number) && number.fract() == 0.0;
    let number = deserializer.deserialize_i64(Number { expected: "a whole number from 1 to 1024", fits })?;
    Ok(number as usize)
}

/// A duration that something can be done in.
pub(super) fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Length, D::Error> {
    let length = Length::deserialize(deserializer)?;
    if length.0 > Span::ZERO { Ok(length) } else { Err(D::Error::custom("must be more than 0s")) }
}

/// A time zone by its IANA name.
#[derive(Clone, Copy)]
pub(super) struct Zone(pub(super) Tz);

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
        zone(&String::deserialize(deserializer)?).map(Zone).map_err(D::Error::custom)
    }
}

/// Reads the name of a time zone.
///
/// # Errors
/// With the remedy, when there is none of this name.
pub fn zone(name: &str) -> Result<Tz, String> {
    let unknown = "unknown time zone (write an IANA name, like \"Europe/Berlin\" or \"UTC\")";
    name.parse().map_err(|_| unknown.to_owned())
}
