//! Log lines on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: one line each, coloured when stderr is a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log filter {filter:?} is not understood (a level, or target=level,…)")]
    Filter {
        filter: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging is set up already")]
    AlreadySetUp,
}

/// Sets logging up for the whole process, once. `filter` is a level (`info`) or a list of `target=level`.
pub fn set_up(filter: &str, format: LogFormat) -> Result<(), LoggingError> {
    let parsed = EnvFilter::try_new(filter).map_err(|source| LoggingError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_timer(SystemTime)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal);
    let done = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().with_current_span(true).try_init(),
    };
    done.map_err(|_| LoggingError::AlreadySetUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = set_up("info,=;;", LogFormat::Text).unwrap_err();
        assert!(error.to_string().contains("\"info,=;;\""), "{error}");
    }

    #[test]
    fn logging_is_set_up_once() {
        set_up("warn,hyper=error", LogFormat::Json).unwrap();
        assert!(matches!(
            set_up("warn", LogFormat::Text),
            Err(LoggingError::AlreadySetUp)
        ));
    }
}
