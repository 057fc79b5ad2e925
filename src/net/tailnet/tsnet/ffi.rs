//! The only unsafe code: calls into the Go archive, and descriptors received
//! over a socket.
#![expect(unsafe_code, reason = "a C ABI, and recvmsg with ancillary data")]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::unix::AsyncFd;

use crate::net::tailnet::Error;

#[cfg(feature = "tailnet")]
mod go {
    /// The signature of every export but `iris_free`; see `go/abi.go`.
    pub(super) type Function = unsafe extern "C" fn(
        handle: i64,
        request: *const u8,
        request_len: usize,
        reply: *mut *mut u8,
        reply_len: *mut usize,
    ) -> i64;

    macro_rules! exports {
        ($($name:ident)*) => {
            unsafe extern "C" {
                $(pub(super) fn $name(
                    handle: i64,
                    request: *const u8,
                    request_len: usize,
                    reply: *mut *mut u8,
                    reply_len: *mut usize,
                ) -> i64;)*
                pub(super) fn iris_free(buffer: *mut u8);
            }
        };
    }
    exports! {
        iris_node_open iris_node_watch iris_node_listen iris_node_dial
        iris_node_rejoin iris_node_whois iris_node_certificate
        iris_node_close
        iris_control_open iris_control_filter iris_control_close
    }
}

/// What can be asked of a node, or of a control server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Open,
    Watch,
    Listen,
    Dial,
    Rejoin,
    WhoIs,
    Certificate,
    Close,
    ControlOpen,
    ControlFilter,
    ControlClose,
}

#[cfg(not(feature = "tailnet"))]
fn call(_: Call, _: i64, _: &[u8]) -> Result<(i64, Vec<u8>), Error> {
    Err(Error::NotBuilt)
}

/// Makes one call, which may block. This is the only way from a result of the
/// archive to an [`Error`].
#[cfg(feature = "tailnet")]
fn call(what: Call, handle: i64, request: &[u8]) -> Result<(i64, Vec<u8>), Error> {
    let function: go::Function = match what {
        Call::Open => go::iris_node_open,
        Call::Watch => go::iris_node_watch,
        Call::Listen => go::iris_node_listen,
        Call::Dial => go::iris_node_dial,
        Call::Rejoin => go::iris_node_rejoin,
        Call::WhoIs => go::iris_node_whois,
        Call::Certificate => go::iris_node_certificate,
        Call::Close => go::iris_node_close,
        Call::ControlOpen => go::iris_control_open,
        Call::ControlFilter => go::iris_control_filter,
        Call::ControlClose => go::iris_control_close,
    };
    let mut reply = std::ptr::null_mut();
    let mut reply_len = 0;
    // SAFETY: the request is valid for its length during the call and Go keeps
    // nothing of it; the two results are valid for writing.
    let value = unsafe {
        function(
            handle,
            request.as_ptr(),
            request.len(),
            &raw mut reply,
            &raw mut reply_len,
        )
    };
    let bytes = if reply.is_null() {
        Vec::new()
    } else {
        // SAFETY: a reply that is not null is a buffer of that length in C's
        // heap which belongs to us; it is copied and given back once.
        unsafe {
            let bytes = std::slice::from_raw_parts(reply, reply_len).to_vec();
            go::iris_free(reply);
            bytes
        }
    };
    if value < 0 {
        return Err(Error::Node(String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok((value, bytes))
}

/// A call that makes something: its handle, and what it says about it.
pub(super) fn open(what: Call, request: &[u8]) -> Result<(i64, Vec<u8>), Error> {
    debug_assert!(matches!(what, Call::Open | Call::ControlOpen), "{what:?}");
    call(what, 0, request)
}

/// A call that answers with bytes.
pub(super) fn ask(what: Call, handle: i64, request: &[u8]) -> Result<Vec<u8>, Error> {
    debug_assert!(
        !matches!(
            what,
            Call::Open | Call::ControlOpen | Call::Watch | Call::Listen | Call::Dial
        ),
        "{what:?}"
    );
    call(what, handle, request).map(|(_, reply)| reply)
}

/// A call that answers with a socket.
pub(super) fn socket(what: Call, handle: i64, request: &[u8]) -> Result<OwnedFd, Error> {
    assert!(
        matches!(what, Call::Watch | Call::Listen | Call::Dial),
        "{what:?} gives no socket"
    );
    let (value, _) = call(what, handle, request)?;
    let fd = RawFd::try_from(value).map_err(|_| Error::Node(format!("{value}: no descriptor")))?;
    // SAFETY: these three calls answer with a descriptor that now belongs to
    // the caller and is known nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a socket under tokio's watch.
pub(super) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and stays the same file until it is dropped with the
    // `AsyncFd` that now owns it.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// The size of a descriptor, as the C macros want it.
const DESCRIPTOR: u32 = 4;

/// Receives one message and the descriptor it carries. Zero bytes are the end.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    message: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for one descriptor, aligned as a control header must be.
    #[repr(C)]
    union Control {
        header: libc::cmsghdr,
        bytes: [u8; 64],
    }
    #[cfg(target_os = "linux")]
    const FLAGS: libc::c_int = libc::MSG_CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: libc::c_int = 0;

    let mut control = Control { bytes: [0; 64] };
    let mut part = libc::iovec {
        iov_base: message.as_mut_ptr().cast(),
        iov_len: message.len(),
    };
    // SAFETY: all zeros is a valid msghdr, with everything absent.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    // SAFETY: CMSG_SPACE only computes.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(DESCRIPTOR) } as _;
    // SAFETY: the header points at live buffers of the lengths it names.
    let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, FLAGS) };
    let Ok(count) = usize::try_from(count) else {
        return Err(io::Error::last_os_error());
    };

    let mut received: Option<OwnedFd> = None;
    // SAFETY: the header was filled by recvmsg, so the control messages that
    // these macros walk over lie in the buffer; the payload of SCM_RIGHTS is
    // descriptors that now belong to this process, each wrapped once.
    #[expect(clippy::cast_ptr_alignment, reason = "read_unaligned does not need it")]
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(item) = next.as_ref() {
            if item.cmsg_level == libc::SOL_SOCKET && item.cmsg_type == libc::SCM_RIGHTS {
                #[cfg_attr(
                    target_os = "linux",
                    expect(clippy::unnecessary_cast, reason = "macOS has a shorter type here")
                )]
                let payload = item.cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for index in 0..payload / size_of::<RawFd>() {
                    let data = libc::CMSG_DATA(next).cast::<RawFd>().add(index);
                    received = Some(OwnedFd::from_raw_fd(data.read_unaligned()));
                }
            }
            next = libc::CMSG_NXTHDR(&raw const header, next);
        }
    }
    if header.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
        // A descriptor is cut off when this process has too many open.
        return Err(io::Error::other(
            "a connection was lost: out of file descriptors",
        ));
    }
    Ok((count, received))
}

#[cfg(test)]
pub(super) fn send(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = [0_u64; 8];
    let mut part = libc::iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    // SAFETY: as in `receive`; the control buffer is aligned and large enough
    // for one descriptor, and sendmsg only reads.
    let sent = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(DESCRIPTOR) as _;
        let item = libc::CMSG_FIRSTHDR(&raw const header);
        (*item).cmsg_level = libc::SOL_SOCKET;
        (*item).cmsg_type = libc::SCM_RIGHTS;
        (*item).cmsg_len = libc::CMSG_LEN(DESCRIPTOR) as _;
        libc::CMSG_DATA(item)
            .cast::<RawFd>()
            .write_unaligned(fd.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const header, 0)
    };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
