//! What goes wrong between a person and the node.

use std::io;
use std::path::PathBuf;

/// An answer that is no success, or none at all. `Display` is the whole line for the person, causes included: it is printed once, at
/// the end of the program.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "error: no agent answers on {socket}: {what}\nstart one with \"coracle run\", or choose another node with --run-dir"
    )]
    NoAgent { socket: PathBuf, what: String },
    #[error("error: not allowed to talk to the agent on {socket}: run this command as root")]
    NotAllowed { socket: PathBuf },
    #[error("error: the agent broke off its answer: {0}")]
    BrokenOff(String),
    /// As kubectl says what the API server said.
    #[error("Error from server ({reason}): {message}")]
    Server {
        reason: &'static str,
        message: String,
    },
    #[error("error: the agent's answer is not understood: {0}")]
    Answer(String),
    #[error("error: {0}")]
    Said(String),
    #[error("error: cannot write: {0}")]
    Output(#[from] io::Error),
}

impl ClientError {
    /// Whoever read our output has left.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, ClientError::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }
    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        ClientError::Server {
            reason: "NotFound",
            message: format!("{resource} \"{name}\" not found"),
        }
    }
    /// By the status of an answer, and its text.
    pub(crate) fn of_answer(status: http::StatusCode, body: &[u8]) -> Self {
        let message = String::from_utf8_lossy(body).trim_end().to_owned();
        let reason = match status.as_u16() {
            400 => "BadRequest",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 => "Conflict",
            422 => "Invalid",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        };
        ClientError::Server { reason, message }
    }
}
