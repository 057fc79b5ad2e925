//! For streams that look at what is read or written, and pass the rest on.

/// Writes of a wrapper are those of its field `inner`. Where `$around` is named, it is a method that each
/// write of data goes through.
macro_rules! pass_writes {
    ($wrapper:ident) => {
        pass_writes!($wrapper, |wrapper, cx, write| write(&mut wrapper.inner, cx));
    };
    ($wrapper:ident, $around:ident) => {
        pass_writes!($wrapper, |wrapper, cx, write| wrapper.$around(cx, write));
    };
    ($wrapper:ident, |$this:ident, $cx:ident, $write:ident| $poll:expr) => {
        impl<S: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for $wrapper<S> {
            fn poll_write(
                self: Pin<&mut Self>,
                $cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let $write =
                    |inner: &mut S, cx: &mut Context<'_>| Pin::new(inner).poll_write(cx, buf);
                $poll
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                $cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let $write = |inner: &mut S, cx: &mut Context<'_>| {
                    Pin::new(inner).poll_write_vectored(cx, bufs)
                };
                $poll
            }

            fn is_write_vectored(&self) -> bool {
                self.inner.is_write_vectored()
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_flush(cx)
            }

            fn poll_shutdown(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_shutdown(cx)
            }
        }
    };
}
pub(super) use pass_writes;
