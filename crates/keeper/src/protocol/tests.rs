use super::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Sends everything from one end to the other, both non-blocking, and returns the frames.
fn through(outgoing: &mut Outgoing, count: usize) -> io::Result<Vec<(Vec<u8>, Vec<OwnedFd>)>> {
    let (here, there) = pair()?;
    let mut incoming = Incoming::default();
    let mut frames = Vec::new();
    while frames.len() < count {
        match outgoing.flush(here.as_fd()) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
        match incoming.receive(there.as_fd()) {
            Ok(Received::Frame { value, descriptors }) => frames.push((value, descriptors)),
            Ok(Received::Closed) => break,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    drop(here);
    assert!(matches!(
        incoming.receive(there.as_fd()),
        Ok(Received::Closed)
    ));
    Ok(frames)
}

#[test]
fn a_megabyte_and_a_thousand_descriptors_arrive_in_order() -> Result<(), Box<dyn std::error::Error>>
{
    let mut outgoing = Outgoing::default();
    let text = "x".repeat(3 << 20);
    let (read, write) = rustix::pipe::pipe()?;
    let null = std::fs::File::open("/dev/null")?;
    let mut fds = Vec::new();
    for n in 0..1000 {
        fds.push(if n == 777 {
            read.try_clone()?
        } else {
            null.try_clone()?.into()
        });
    }
    outgoing.push(&text, fds)?;
    outgoing.push(&"second", vec![])?;
    assert!(outgoing.bytes() > 3 << 20);
    let frames = through(&mut outgoing, 2)?;
    assert_eq!(frames[0].0.len(), text.len() + 2);
    assert_eq!(frames[0].1.len(), 1000);
    assert_eq!(frames[1].0, b"\"second\"");
    rustix::io::write(&write, b"!")?;
    let mut byte = [0; 1];
    rustix::io::read(&frames[0].1[777], &mut byte)?;
    assert_eq!(byte, *b"!");
    for fd in &frames[0].1 {
        let cloexec = rustix::io::fcntl_getfd(fd)?;
        assert_eq!(cloexec, rustix::io::FdFlags::CLOEXEC, "{}", fd.as_raw_fd());
    }
    Ok(())
}

#[test]
fn what_is_no_frame_ends_the_connection() -> io::Result<()> {
    for text in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"ckpr\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
    ] {
        let (here, there) = pair()?;
        rustix::io::write(&here, text)?;
        let got = Incoming::default().receive(there.as_fd());
        assert_eq!(
            got.map(|_| ()).map_err(|e| e.kind()),
            Err(io::ErrorKind::InvalidData)
        );
    }
    let (here, there) = pair()?;
    rustix::io::write(&here, b"ckpr\0\0")?;
    drop(here);
    let got = Incoming::default().receive(there.as_fd());
    assert_eq!(
        got.map(|_| ()).map_err(|e| e.kind()),
        Err(io::ErrorKind::UnexpectedEof)
    );
    Ok(())
}

#[test]
fn a_message_that_is_too_large_is_not_queued() {
    let mut outgoing = Outgoing::default();
    assert!(matches!(
        outgoing.push(&"x".repeat(MOST_BYTES), vec![]),
        Err(FrameError::TooLarge { .. })
    ));
    assert!(outgoing.is_empty());
}

#[test]
fn versions_agree_on_the_newest_of_both() {
    assert_eq!(agree(1, 1), Some(1));
    assert_eq!(agree(1, 4), Some(NEWEST_VERSION));
    assert_eq!(agree(NEWEST_VERSION + 1, NEWEST_VERSION + 3), None);
    assert_eq!(agree(0, 0), None);
}

#[test]
fn unknown_fields_are_skipped() -> Result<(), serde_json::Error> {
    let text =
        r#"{"id":7,"colour":"red","request":{"Hello":{"oldest":1,"newest":9,"mood":"good"}}}"#;
    let message: ToKeeper = serde_json::from_str(text)?;
    assert_eq!(
        message,
        ToKeeper {
            id: 7,
            request: Request::Hello {
                oldest: 1,
                newest: 9
            }
        }
    );
    Ok(())
}
