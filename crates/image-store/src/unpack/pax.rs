//! Extended headers of POSIX.1-2001 (pax): records `LENGTH KEY=VALUE\n` that override fields of the next entry.
//!
//! Read by length, not by line: the value of `SCHILY.xattr.security.capability` is binary and may hold a newline.

/// What the records say. `None`: the header's own field counts. An empty value means the same (as in Go's reader).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    /// In order of appearance; a later one of the same name wins.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// `GNU.sparse.*`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    pub(super) present: bool,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Option<Vec<u8>>,
}

const BAD: &str = "an extended header is malformed";

impl Pax {
    pub(super) fn parse(data: &[u8]) -> Result<Pax, &'static str> {
        let mut pax = Pax::default();
        for record in Records(data) {
            let (key, value) = record?;
            pax.take(key, value)?;
        }
        Ok(pax)
    }

    /// A global header may carry remarks (git's commit id), nothing that changes an entry: readers disagree about those.
    pub(super) fn check_global(data: &[u8]) -> Result<(), &'static str> {
        for record in Records(data) {
            if record?.0 != b"comment" {
                return Err("a global extended header changes the entries after it");
            }
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.retain(|(other, _)| other != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if key.starts_with(b"GNU.sparse.") {
            return self.take_sparse(key, value);
        }
        if value.is_empty() {
            return Ok(());
        }
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.linkpath = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            // atime, ctime, uname, gname, comment, other vendors' keys: a container's file system has no place for them.
            _ => {}
        }
        Ok(())
    }

    fn take_sparse(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let sparse = &mut self.sparse;
        sparse.present = true;
        match &key[b"GNU.sparse.".len()..] {
            b"major" => sparse.major = Some(number(value)?),
            b"minor" => sparse.minor = Some(number(value)?),
            b"name" => sparse.name = Some(value.to_vec()),
            b"realsize" | b"size" => sparse.real_size = Some(number(value)?),
            b"map" => sparse.map = Some(value.to_vec()),
            b"numblocks" => {
                number(value)?;
            }
            _ => return Err("a sparse file is written in a form that is not supported"),
        }
        Ok(())
    }
}

struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), &'static str>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = (|| {
            let space = self.0.iter().take(12).position(|b| *b == b' ').ok_or(BAD)?;
            let length = usize::try_from(number(&self.0[..space])?).map_err(|_| BAD)?;
            if length <= space + 1 || length > self.0.len() {
                return Err(BAD);
            }
            let (record, rest) = self.0.split_at(length);
            self.0 = rest;
            let body = record[space + 1..].strip_suffix(b"\n").ok_or(BAD)?;
            let equals = body.iter().position(|b| *b == b'=').ok_or(BAD)?;
            let (key, value) = (&body[..equals], &body[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err(BAD);
            }
            Ok((key, value))
        })();
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}

/// Decimal digits only.
pub(super) fn number(text: &[u8]) -> Result<u64, &'static str> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(BAD)
}

/// Seconds, perhaps negative, perhaps with a fraction.
fn time(text: &[u8]) -> Result<(i64, u32), &'static str> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(number(whole)?).map_err(|_| BAD)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let mut nanoseconds = 0;
    for at in 0..9 {
        nanoseconds = nanoseconds * 10 + u32::from(fraction.get(at).map_or(0, |b| b - b'0'));
    }
    Ok(match (negative, nanoseconds) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length += 1;
        }
        let mut out = format!("{length} {key}=").into_bytes();
        out.extend_from_slice(value);
        out.push(b'\n');
        out
    }

    #[test]
    fn a_binary_attribute_with_newlines_is_read_whole() {
        let value = b"\x01\n\n=\x00\n";
        let mut data = record("path", b"a/b");
        data.extend(record("SCHILY.xattr.security.capability", value));
        data.extend(record("mtime", b"1.5"));
        let pax = Pax::parse(&data).unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(
            pax.xattrs,
            [(b"security.capability".to_vec(), value.to_vec())]
        );
        assert_eq!(pax.mtime, Some((1, 500_000_000)));
    }

    #[test]
    fn times_before_the_epoch_round_towards_the_past() {
        assert_eq!(time(b"-1.25"), Ok((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Ok((-3, 0)));
        assert_eq!(time(b"7.0000000019"), Ok((7, 1)));
        for bad in ["", "-", "1.x", "+1", "1e3", "99999999999999999999"] {
            assert!(time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b",
            b"99 path=a\n",
            b"0 path=a\n",
            b"3 \n\n",
            b"9 path=a\n9",
            b"-9 path=a\n",
            b"10 path=ab ",
            b"8 noval\n",
            b"6 =ab\n",
            b"11 size=-1\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(data: Vec<u8>) {
            let _ = Pax::parse(&data);
            let _ = Pax::check_global(&data);
        }

        #[test]
        fn every_record_is_read_back(key in "[a-zA-Z.]{1,20}", value: Vec<u8>) {
            let records: Vec<_> = Records(&record(&key, &value)).map(|r| r.map(|(k, v)| (k.to_vec(), v.to_vec()))).collect();
            proptest::prop_assert_eq!(records, vec![Ok((key.into_bytes(), value))]);
        }
    }
}
