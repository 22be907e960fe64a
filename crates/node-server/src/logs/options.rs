//! The query of a log request: `PodLogOptions`, with the API server's validation.

use container_logs::{ReadOptions, Stream};
use jiff::Timestamp;
use std::time::SystemTime;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogOptions {
    pub(super) read: ReadOptions,
    pub(super) follow: bool,
    pub(super) previous: bool,
}

impl LogOptions {
    /// # Errors
    /// A line that says which parameter is wrong, and why.
    pub(super) fn parse(query: &[(String, String)], now: SystemTime) -> Result<Self, String> {
        let mut options = Self::default();
        let (mut since_seconds, mut since_time) = (None, None);
        for (name, value) in query {
            let value = value.as_str();
            let integer = |least: i64| match value.parse::<i64>() {
                Ok(n) if n >= least => Ok(n.unsigned_abs()),
                Ok(_) => Err(format!("{name}: must be greater than or equal to {least}")),
                Err(_) => Err(format!("{name}: {value:?} is no integer")),
            };
            // As the API machinery reads a boolean: whatever is not a "no" is a "yes".
            let boolean = !value.eq_ignore_ascii_case("false") && value != "0";
            match name.as_str() {
                "follow" => options.follow = boolean,
                "previous" => options.previous = boolean,
                "timestamps" => options.read.timestamps = boolean,
                "tailLines" => options.read.tail_lines = Some(integer(0)?),
                // The kubelet's old name, which knows a word for everything.
                "tail" if value == "all" => options.read.tail_lines = None,
                "tail" => options.read.tail_lines = Some(integer(0)?),
                "limitBytes" => options.read.limit_bytes = Some(integer(1)?),
                "sinceSeconds" => since_seconds = Some(integer(1)?),
                "sinceTime" => {
                    let time: Timestamp = value
                        .parse()
                        .map_err(|_| format!("{name}: {value:?} is no RFC 3339 time"))?;
                    since_time = Some(nanoseconds(time));
                }
                "stream" => {
                    options.read.stream = match value {
                        "" | "All" => None,
                        "Stdout" => Some(Stream::Stdout),
                        "Stderr" => Some(Stream::Stderr),
                        _ => {
                            return Err(format!(
                                "{name}: {value:?} is not one of \"All\", \"Stdout\", \"Stderr\""
                            ));
                        }
                    }
                }
                // Of the whole of PodLogOptions, two mean nothing to a node.
                "container" | "insecureSkipTLSVerifyBackend" => {}
                _ => return Err(format!("{name}: there is no such parameter")),
            }
        }
        options.read.since = match (since_seconds, since_time) {
            (Some(_), Some(_)) => {
                return Err("at most one of `sinceTime` or `sinceSeconds` may be specified".into());
            }
            (Some(seconds), None) => {
                let now = Timestamp::try_from(now).map_or(0, nanoseconds);
                let back = i64::try_from(seconds).unwrap_or(i64::MAX);
                Some(now.saturating_sub(back.saturating_mul(1_000_000_000)))
            }
            (None, time) => time,
        };
        Ok(options)
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    let whole = time.as_nanosecond();
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(query: &str) -> Result<LogOptions, String> {
        let query: Vec<_> = query
            .split('&')
            .filter(|q| !q.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        LogOptions::parse(&query, SystemTime::UNIX_EPOCH + Duration::from_secs(100))
    }

    #[test]
    fn parameters_mean_what_they_mean_to_a_kubelet() {
        assert_eq!(parse(""), Ok(LogOptions::default()));
        let all = parse(
            "follow=true&previous=1&timestamps&tailLines=5&limitBytes=9&sinceSeconds=40&stream=Stderr",
        );
        let want = LogOptions {
            follow: true,
            previous: true,
            read: ReadOptions {
                tail_lines: Some(5),
                since: Some(60_000_000_000),
                limit_bytes: Some(9),
                timestamps: true,
                stream: Some(Stream::Stderr),
            },
        };
        assert_eq!(all, Ok(want));
        let no = parse("follow=false&timestamps=0&tail=all&sinceTime=1970-01-01T01:00:00%2B01:00");
        assert!(no.is_err(), "the query is decoded before");
        let zone = parse("follow=False&sinceTime=1970-01-01T01:00:05.5+01:00&stream=All").unwrap();
        assert!(!zone.follow);
        assert_eq!(zone.read.since, Some(5_500_000_000));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, what) in [
            (
                "tailLines=-1",
                "tailLines: must be greater than or equal to 0",
            ),
            ("tailLines=x", "tailLines: \"x\" is no integer"),
            (
                "limitBytes=0",
                "limitBytes: must be greater than or equal to 1",
            ),
            ("sinceSeconds=0", "sinceSeconds: must be"),
            (
                "sinceTime=yesterday",
                "sinceTime: \"yesterday\" is no RFC 3339 time",
            ),
            (
                "sinceTime=1970-01-01T00:00:00Z&sinceSeconds=1",
                "at most one of",
            ),
            ("stream=both", "stream: \"both\" is not one of"),
            ("folow=true", "folow: there is no such parameter"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(what), "{query}: {error}");
        }
    }
}
