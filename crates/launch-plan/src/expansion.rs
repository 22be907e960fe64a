//! `$(VAR)` in commands, arguments, environment values and subPathExpr, as `k8s.io/kubernetes/third_party/forked/golang/expansion`.

/// Replaces every `$(NAME)` by what `lookup` says. `$$` is a literal `$`, so `$$(NAME)` becomes `$(NAME)`. A reference that is not closed,
/// and a `$` before anything else, stay as they are.
pub fn expand(input: &str, mut lookup: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match after.chars().next() {
            // at the very end
            None => {
                out.push('$');
                rest = "";
            }
            Some('$') => {
                out.push('$');
                rest = &after[1..];
            }
            Some('(') => match after.find(')') {
                Some(end) => {
                    out.push_str(&lookup(&after[1..end]));
                    rest = &after[end + 1..];
                }
                None => {
                    out.push_str("$(");
                    rest = &after[1..];
                }
            },
            Some(other) => {
                out.push('$');
                out.push(other);
                rest = &after[other.len_utf8()..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// What an unknown variable becomes: itself.
pub fn unresolved(name: &str) -> String {
    format!("$({name})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let got = expand(input, |name| match name {
            "VAR_A" => "A".to_owned(),
            "VAR_B" => "B".to_owned(),
            "VAR_C" => "C".to_owned(),
            "VAR_REF" => "$(VAR_A)".to_owned(),
            "VAR_EMPTY" => String::new(),
            other => unresolved(other),
        });
        assert_eq!(got, expected, "{input:?}");
    }

    #[test]
    fn references_expand_as_in_the_kubelet() {
        for (input, expected) in [
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("___$(VAR_C)", "___C"),
            ("$(VAR_A)-$(VAR_B)$(VAR_C)", "A-BC"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("$$(VAR_A)_$(VAR_A)", "$(VAR_A)_A"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("$$$$$(VAR_A)", "$$A"),
            ("$(DOES_NOT_EXIST)", "$(DOES_NOT_EXIST)"),
            ("$(VAR_EMPTY)", ""),
            ("$", "$"),
            ("$$", "$"),
            ("foo$$", "foo$"),
            ("$VAR_A", "$VAR_A"),
            ("$(VAR_A", "$(VAR_A"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$$(VAR_A$(VAR_B)", "$(VAR_AB"),
            ("$()", "$()"),
            ("$(VAR_A))", "A)"),
            ("\n$\n", "\n$\n"),
            ("$ü$(VAR_A)", "$üA"),
            ("", ""),
        ] {
            check(input, expected);
        }
    }
}
