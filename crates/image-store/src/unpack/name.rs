//! Names of entries, made safe: a [`Name`] holds plain components only and cannot point out of the layer.

use crate::config::Limits;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";
const LONGEST_COMPONENT: usize = 255;
const LONGEST_PATH: usize = 4096;

/// Components from the root of the layer downwards; none for the root itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) components: Vec<&'a [u8]>,
}

/// What the last component asks for (OCI image specification, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Plain,
    /// Hide this name of the layers below.
    Whiteout(&'a [u8]),
    /// Hide everything in this directory of the layers below.
    Opaque,
    /// Bookkeeping of aufs (`.wh..wh.plnk`), which Docker drops too.
    Aufs,
}

impl<'a> Name<'a> {
    /// `./` and doubled slashes are taken out; what could climb or start elsewhere is refused with the rest of a sentence
    /// that begins with the entry.
    pub(super) fn parse(raw: &'a [u8], limits: &Limits) -> Result<Name<'a>, &'static str> {
        if raw.starts_with(b"/") {
            return Err("has an absolute name");
        }
        if raw.contains(&0) {
            return Err("has a NUL in its name");
        }
        if raw.len() > LONGEST_PATH {
            return Err("has a name longer than 4096 bytes");
        }
        let mut components = Vec::with_capacity(8);
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("has \"..\" in its name"),
                long if long.len() > LONGEST_COMPONENT => {
                    return Err("has a name with a part longer than 255 bytes");
                }
                component => components.push(component),
            }
        }
        if raw.is_empty() {
            return Err("has no name");
        }
        if components.len() > limits.path_depth {
            return Err("lies deeper than allowed");
        }
        if components
            .iter()
            .rev()
            .skip(1)
            .any(|component| component.starts_with(WHITEOUT))
        {
            return Err("lies below a whiteout");
        }
        Ok(Name { components })
    }

    pub(super) fn meaning(&self) -> Result<Meaning<'a>, &'static str> {
        let Some(last) = self.components.last() else {
            return Ok(Meaning::Plain);
        };
        if *last == OPAQUE {
            return Ok(Meaning::Opaque);
        }
        if last.starts_with(AUFS) {
            return Ok(Meaning::Aufs);
        }
        match last.strip_prefix(WHITEOUT) {
            None => Ok(Meaning::Plain),
            Some(b"" | b"." | b"..") => Err("is a whiteout of its own directory or of a parent"),
            Some(hidden) => Ok(Meaning::Whiteout(hidden)),
        }
    }

    pub(super) fn joined(components: &[&[u8]]) -> Vec<u8> {
        components.join(&b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<Vec<String>, &'static str> {
        Name::parse(raw.as_bytes(), &Limits::default()).map(|name| {
            name.components
                .iter()
                .map(|c| String::from_utf8(c.to_vec()).unwrap())
                .collect()
        })
    }

    #[test]
    fn harmless_spellings_mean_the_same() {
        for raw in ["a/b", "./a/b", "a//b", "a/./b/", "./././a/b//"] {
            assert_eq!(parse(raw).unwrap(), ["a", "b"], "{raw}");
        }
        for root in [".", "./", "././"] {
            assert!(parse(root).unwrap().is_empty());
        }
        assert_eq!(parse("..a/b..").unwrap(), ["..a", "b.."]);
    }

    #[test]
    fn what_climbs_is_refused() {
        for raw in [
            "/a", "//a", "/", "..", "../a", "a/..", "a/../b", "./../a", "", "a\0b", ".wh.a/b",
        ] {
            assert!(parse(raw).is_err(), "{raw:?}");
        }
        assert!(parse(&"x".repeat(256)).is_err());
        assert!(parse(&"x/".repeat(300)).is_err());
    }

    #[test]
    fn whiteouts_of_parents_are_refused() {
        let limits = Limits::default();
        for raw in [".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."] {
            let name = Name::parse(raw.as_bytes(), &limits).unwrap();
            assert!(name.meaning().is_err(), "{raw}");
        }
        for (raw, meaning) in [
            ("a/.wh.b", Meaning::Whiteout(b"b")),
            ("a/.wh..b", Meaning::Whiteout(b".b")),
            ("a/.wh....", Meaning::Whiteout(b"...")),
            (".wh..wh..opq", Meaning::Opaque),
            (".wh..wh.plnk", Meaning::Aufs),
            ("a/.wha", Meaning::Plain),
            (".", Meaning::Plain),
        ] {
            let name = Name::parse(raw.as_bytes(), &limits).unwrap();
            assert_eq!(name.meaning().unwrap(), meaning, "{raw}");
        }
    }
}
