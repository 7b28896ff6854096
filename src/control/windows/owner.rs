//! Whom a named pipe belongs to: what Windows is told of it, and asked. Users are written as their security identifiers.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{ERROR_SUCCESS, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1,
    SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Room for a `TOKEN_USER` and the longest security identifier, 84 bytes, aligned for both.
type UserBuffer = [u64; 16];

/// Something that the system has allocated for us, and wants back.
struct Allocated(*mut c_void);

impl Drop for Allocated {
    #[expect(unsafe_code, reason = "the system's memory goes back by a call to it")]
    fn drop(&mut self) {
        // SAFETY: the system has allocated it with LocalAlloc, as the functions say that are called here, and nothing else points there.
        unsafe { LocalFree(self.0) };
    }
}

/// Which user this process belongs to.
///
/// # Errors
/// The system does not tell.
#[expect(unsafe_code, reason = "std doesn't know users of Windows")]
pub(super) fn user() -> io::Result<String> {
    let mut token = null_mut();
    // SAFETY: the first handle needs no closing, and the second is written to a place that is ours.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened just now, and nobody else closes it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut buffer: UserBuffer = [0; 16];
    let (at, mut written) = (buffer.as_mut_ptr(), 0);
    let length = u32::try_from(size_of::<UserBuffer>()).unwrap_or(0);
    // SAFETY: so many bytes are ours at that place; where they are too few, that is an error.
    let told = unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, at.cast(), length, &raw mut written) };
    if told == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has written a TOKEN_USER there, for which the buffer is aligned, and its identifier behind it; the buffer
    // outlives the call.
    unsafe { text((*at.cast::<TOKEN_USER>()).User.Sid) }
}

/// Whom a pipe belongs to.
///
/// # Errors
/// The system does not tell.
#[expect(unsafe_code, reason = "std doesn't know owners on Windows")]
pub(super) fn of(pipe: &impl AsHandle) -> io::Result<String> {
    let (mut owner, mut descriptor) = (null_mut(), null_mut());
    // SAFETY: the handle is open as long as it is borrowed; the places written to are ours, and null asks for nothing.
    let code = unsafe {
        GetSecurityInfo(
            pipe.as_handle().as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    };
    if code != ERROR_SUCCESS {
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let _descriptor = Allocated(descriptor);
    if owner.is_null() {
        return Err(io::Error::other("it belongs to nobody"));
    }
    // SAFETY: the identifier is in the descriptor, which is freed at the end of this function.
    unsafe { text(owner) }
}

/// A security identifier as it is written: `S-1-5-…`.
///
/// # Safety
/// It is one, and stays until the end of the call.
#[expect(unsafe_code, reason = "a pointer of the system has no safe form")]
unsafe fn text(sid: PSID) -> io::Result<String> {
    let mut written = null_mut();
    // SAFETY: the caller says that it is an identifier; the place written to is ours.
    if unsafe { ConvertSidToStringSidW(sid, &raw mut written) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let _text = Allocated(written.cast());
    // SAFETY: the system has written a text there that ends with a zero, and the places up to that are read.
    let length = (0..).take_while(|&place| unsafe { *written.add(place) } != 0).count();
    // SAFETY: so many characters stand there, until they are freed at the end of this function.
    String::from_utf16(unsafe { std::slice::from_raw_parts(written, length) }).map_err(io::Error::other)
}

/// Has something made with a description of who may use it, in the language of [`super::name::security`]. `make` gets a pointer to
/// `SECURITY_ATTRIBUTES`, which are there until it returns.
///
/// # Errors
/// The system does not understand the description, or that of `make`.
#[expect(unsafe_code, reason = "std makes nothing with a description of who may use it")]
pub(super) fn with<T>(security: &str, make: impl FnOnce(*mut c_void) -> io::Result<T>) -> io::Result<T> {
    let text: Vec<u16> = security.encode_utf16().chain([0]).collect();
    let mut descriptor = null_mut();
    // SAFETY: the text ends with a zero and outlives the call; the place written to is ours, and null asks for nothing.
    let read = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            null_mut(),
        )
    };
    if read == 0 {
        return Err(io::Error::last_os_error());
    }
    let descriptor = Allocated(descriptor);
    let mut attributes = SECURITY_ATTRIBUTES {
        nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
        lpSecurityDescriptor: descriptor.0,
        // No server gets hold of it.
        bInheritHandle: 0,
    };
    make((&raw mut attributes).cast())
}
