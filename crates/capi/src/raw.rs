//! Reads and writes the memory of C.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr;

use crate::codes::SIP_AUTHZ_UNDECIDED;
use crate::types::{Answer, Counts, Options, Request};

/// A struct of C that begins with its size, so that it can grow at its end.
///
/// # Safety
///
/// The type is `repr(C)`, its first field is `struct_size: u32`, and all zeros are a valid value of it.
pub(crate) unsafe trait Versioned: Copy {
    /// The size of the struct in the first version of the interface.
    const FIRST: usize;
}

// SAFETY: integers and pointers, the size first.
unsafe impl Versioned for Options {
    const FIRST: usize = size_of::<Self>();
}
// SAFETY: integers and pointers, the size first.
unsafe impl Versioned for Request {
    const FIRST: usize = size_of::<Self>();
}
// SAFETY: integers and pointers, the size first.
unsafe impl Versioned for Answer {
    const FIRST: usize = size_of::<Self>();
}
// SAFETY: integers, the size first.
unsafe impl Versioned for Counts {
    const FIRST: usize = size_of::<Self>();
}

/// The size that the caller has set; none for NULL, and for less than the first version has.
///
/// # Safety
///
/// `from` is NULL, or points to a `struct_size`.
unsafe fn size_of_struct<T: Versioned>(from: *const T) -> Option<usize> {
    if from.is_null() {
        return None;
    }
    // SAFETY: the caller promises that there is a size. It need not be aligned.
    let size = unsafe { from.cast::<u32>().read_unaligned() };
    usize::try_from(size).ok().filter(|size| *size >= T::FIRST)
}

/// Reads a struct. Fields that an older caller does not know are zero; none if it is NULL or too small.
///
/// # Safety
///
/// `from` is NULL, or points to as many bytes as its `struct_size` says.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Option<T> {
    // SAFETY: as the caller promises.
    let size = unsafe { size_of_struct(from) }?;
    // SAFETY: all zeros are a value of `T`, as its trait promises.
    let mut value: T = unsafe { std::mem::zeroed() };
    let length = size.min(size_of::<T>());
    // SAFETY: both places have so many bytes, and the value is ours alone.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast(), length) };
    Some(value)
}

/// Writes a struct behind its `struct_size`, no more than the caller has of it. False if it is NULL or too
/// small; then nothing is written.
///
/// # Safety
///
/// `to` is NULL, or points to as many writable bytes as its `struct_size` says.
pub(crate) unsafe fn write<T: Versioned>(to: *mut T, value: &T) -> bool {
    // SAFETY: as the caller promises.
    let Some(size) = (unsafe { size_of_struct(to.cast_const()) }) else { return false };
    let length = size.min(size_of::<T>()) - size_of::<u32>();
    let from = ptr::from_ref(value).cast::<u8>();
    // SAFETY: both places have so many bytes behind the size, and the value is no part of the caller's.
    unsafe {
        let from = from.add(size_of::<u32>());
        ptr::copy_nonoverlapping(from, to.cast::<u8>().add(size_of::<u32>()), length);
    }
    true
}

/// Writes a refusal into an answer that is too small for an answer, if it is large enough for that.
///
/// # Safety
///
/// `to` is NULL, or points to as many writable bytes as its `struct_size` says.
pub(crate) unsafe fn refuse(to: *mut Answer) {
    const END: usize = std::mem::offset_of!(Answer, status) + size_of::<i32>();
    if to.is_null() {
        return;
    }
    // SAFETY: the caller promises that there is a size. It need not be aligned.
    let size = unsafe { to.cast::<u32>().read_unaligned() };
    if usize::try_from(size).is_ok_and(|size| size >= END) {
        // SAFETY: the answer has room for both.
        unsafe {
            (&raw mut (*to).outcome).write_unaligned(SIP_AUTHZ_UNDECIDED);
            (&raw mut (*to).status).write_unaligned(503);
        }
    }
}

/// The items behind a pointer; none if it is NULL with a length, or the length is no length of memory.
///
/// # Safety
///
/// `from` is NULL, or points to so many items, which stay as they are for as long as `'a`.
pub(crate) unsafe fn slice<'a, T>(from: *const T, length: usize) -> Option<&'a [T]> {
    if length == 0 {
        return Some(&[]);
    }
    let is_memory =
        length.checked_mul(size_of::<T>()).is_some_and(|it| isize::try_from(it).is_ok());
    if from.is_null() || !is_memory || !from.is_aligned() {
        return None;
    }
    // SAFETY: the pointer is not NULL and aligned, and the caller promises the rest.
    Some(unsafe { std::slice::from_raw_parts(from, length) })
}

/// The bytes of a text with a length, as [`slice`].
///
/// # Safety
///
/// As for [`slice`].
pub(crate) unsafe fn bytes<'a>(from: *const c_char, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    unsafe { slice(from.cast(), length) }
}

/// The bytes of a text that ends with NUL; none for NULL.
///
/// # Safety
///
/// `from` is NULL, or points to a text that ends with NUL and stays as it is for as long as `'a`.
pub(crate) unsafe fn text<'a>(from: *const c_char) -> Option<&'a [u8]> {
    if from.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { CStr::from_ptr(from) }.to_bytes())
}

/// Writes a text into a buffer of the caller, cut to its size and ended by NUL.
///
/// # Safety
///
/// `to` is NULL, or points to `size` writable bytes.
pub(crate) unsafe fn put_text(to: *mut c_char, size: usize, text: &str) {
    let Some(room) = size.checked_sub(1).filter(|_| !to.is_null()) else { return };
    let length = cut(text, room);
    let to = to.cast::<u8>();
    // SAFETY: the buffer has room for the text and its NUL, and the text is no part of it.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), to, length);
        to.add(length).write(0);
    }
}

/// The greatest index of a text that is at most `most` and not in the middle of a character.
fn cut(text: &str, most: usize) -> usize {
    let most = most.min(text.len());
    (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}
