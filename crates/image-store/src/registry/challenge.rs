//! `WWW-Authenticate`: what a registry asks for before it answers (RFC 9110, section 11.6.1, and Docker's token specification).

use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// The first challenge of a header that this client can meet; Bearer before Basic.
    pub(super) fn parse(headers: &[&str]) -> Option<Challenge> {
        let mut basic = None;
        for (scheme, mut parameters) in headers.iter().flat_map(|header| challenges(header)) {
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameters.remove("realm") {
                    return Some(Challenge::Bearer {
                        realm,
                        service: parameters.remove("service"),
                        scope: parameters.remove("scope"),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
        basic
    }
}

/// Splits `Scheme key=value, key="quoted, value", Scheme2 …`.
fn challenges(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut out: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let word = rest
            .find([' ', '=', ',', '\t'])
            .map_or(rest, |end| &rest[..end]);
        if word.is_empty() {
            return out;
        }
        rest = &rest[word.len()..];
        match rest.trim_start().strip_prefix('=') {
            Some(value) if !out.is_empty() => {
                let (value, after) = value_of(value.trim_start());
                if let Some((_, parameters)) = out.last_mut() {
                    parameters.insert(word.to_ascii_lowercase(), value);
                }
                rest = after;
            }
            // A value without a scheme before it.
            Some(_) => return out,
            None => out.push((word.to_owned(), BTreeMap::new())),
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    value.push(escaped);
                }
            }
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_parameters_are_read_with_commas_and_escapes() {
        assert_eq!(
            Challenge::parse(&[
                r#"Bearer realm="https://auth.io/token",service="r.io",scope="repository:a/b:pull,push \"x\"""#
            ]),
            Some(Challenge::Bearer {
                realm: "https://auth.io/token".into(),
                service: Some("r.io".into()),
                scope: Some(r#"repository:a/b:pull,push "x""#.into()),
            })
        );
    }

    #[test]
    fn of_several_challenges_bearer_is_taken() {
        for headers in [
            &["Basic realm=\"x\", Bearer realm=https://a,service=b"][..],
            &["Basic realm=x", "Bearer realm=https://a , service=b"],
            &["Negotiate", "bearer service=b, realm=https://a"],
        ] {
            assert_eq!(
                Challenge::parse(headers),
                Some(Challenge::Bearer {
                    realm: "https://a".into(),
                    service: Some("b".into()),
                    scope: None,
                }),
                "{headers:?}"
            );
        }
        assert_eq!(
            Challenge::parse(&["Basic realm=\"x\""]),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse(&["basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for header in [
            "",
            "Bearer",
            "=x",
            "realm=\"a",
            "Digest realm=x",
            ",,,",
            "Bearer realm",
        ] {
            assert_eq!(Challenge::parse(&[header]), None, "{header:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_the_parser_panic_or_hang(header in ".{0,200}") {
            let _ = Challenge::parse(&[&header]);
        }
    }
}
