//! Stop signals by name.

use crate::facts::ImageConfig;
use crate::tenant::FromTenant;
use k8s_openapi::api::core::v1::Container;
use pod_model::Signal;

/// By number, x86-64 and aarch64 alike (`signal(7)`).
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("CLD", 17),
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// `SIGTERM`, `TERM`, `15`, `RTMIN+3`, `SIGRTMAX-1`; any case.
pub fn parse_signal(text: &str) -> Option<Signal> {
    let in_range = |n: i32| (1..=RTMAX).contains(&n).then_some(Signal(n));
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return in_range(text.parse().ok()?);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
        return Some(Signal(*number));
    }
    let offset = |rest: &str, sign: char| -> Option<i32> {
        match rest.strip_prefix(sign) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok(),
            None if rest.is_empty() => Some(0),
            _ => None,
        }
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

/// By the name that `stopSignal` of the API has for it: `SIGTERM`, `SIGRTMIN+3`, `SIGRTMAX`.
pub fn signal_name(signal: Signal) -> String {
    let of_name = NAMES.iter().find(|(_, number)| *number == signal.0);
    match (of_name, signal.0) {
        (Some((name, _)), _) => format!("SIG{name}"),
        (None, RTMIN) => "SIGRTMIN".to_owned(),
        (None, RTMAX) => "SIGRTMAX".to_owned(),
        // the API has no SIGRTMIN+16 and beyond
        (None, number) if number > RTMIN + 15 => format!("SIGRTMAX-{}", RTMAX - number),
        (None, number) => format!("SIGRTMIN+{}", number - RTMIN),
    }
}

/// The signal that asks a container to stop: the pod's `lifecycle.stopSignal`, else the image's, else TERM. A name that is none counts as
/// not given: a stop must not fail.
pub fn stop_signal(container: &Container, image: &FromTenant<ImageConfig>) -> Signal {
    let pods = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.stop_signal.as_deref())
        .and_then(parse_signal);
    let images = || {
        image
            .unchecked()
            .stop_signal
            .as_deref()
            .and_then(parse_signal)
    };
    pods.or_else(images).unwrap_or(Signal::TERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("15", Some(15)),
            ("SIGKILL", Some(9)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMAX-1", Some(63)),
            ("64", Some(64)),
            ("65", None),
            ("0", None),
            ("", None),
            ("RTMIN+31", None),
            ("RTMAX-31", None),
            ("RTMIN-1", None),
            ("SIGSIGTERM", None),
            ("RTMIN+99999999999", None),
            ("NONE", None),
        ] {
            assert_eq!(parse_signal(text).map(|s| s.0), number, "{text:?}");
        }
    }

    #[test]
    fn a_signal_has_the_name_that_the_api_knows() {
        for (number, name) in [
            (15, "SIGTERM"),
            (6, "SIGABRT"),
            (34, "SIGRTMIN"),
            (37, "SIGRTMIN+3"),
            (50, "SIGRTMAX-14"),
            (64, "SIGRTMAX"),
        ] {
            assert_eq!(signal_name(Signal(number)), name);
            assert_eq!(parse_signal(name), Some(Signal(number)), "{name}");
        }
    }

    #[test]
    fn a_container_stops_by_its_images_signal_and_by_term_otherwise() {
        let image = |s: Option<&str>| {
            FromTenant::new(ImageConfig {
                stop_signal: s.map(str::to_owned),
                ..ImageConfig::default()
            })
        };
        let container = Container::default();
        assert_eq!(stop_signal(&container, &image(Some("SIGQUIT"))), Signal(3));
        assert_eq!(
            stop_signal(&container, &image(Some("nonsense"))),
            Signal::TERM
        );
        assert_eq!(stop_signal(&container, &image(None)), Signal::TERM);
    }
}
