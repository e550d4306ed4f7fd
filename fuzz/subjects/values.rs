//! Values of options: times, limits, options of a tmpfs. Their meaning is computed a second time, with the parsers of
//! std.

use super::is_one_line;
use crate::cli::{MountRequest, Request, Timeout};
use crate::error::Error;
use crate::options::Id;
use crate::plan::{Source, Tmpfs, make};
use core::str::from_utf8;

/// The first byte chooses the option.
pub fn check(data: &[u8]) {
    let [kind, value @ ..] = data else { return };
    let mut request = Request::default();
    match kind % 3 {
        0 => {
            let taken = request.add::<Error>(Id::Timeout, "timeout", value, b"");
            let nanoseconds = |Timeout { time, grace }| {
                [time, grace].map(|at| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanoseconds))
            };
            assert_eq!(request.timeout.map(nanoseconds), from_utf8(value).ok().and_then(timeout));
            assert_eq!(taken.is_ok(), request.timeout.is_some());
            _ = taken.map_err(|error| is_one_line(&error));
        }
        1 => {
            let taken = request.add::<Error>(Id::Rlimit, "rlimit", value, b"");
            assert_eq!(request.limits.first().copied(), from_utf8(value).ok().and_then(limit));
            assert_eq!(taken.is_ok(), request.limits.len() == 1);
            _ = taken.map_err(|error| is_one_line(&error));
        }
        _ => {
            request.mounts.push(MountRequest::Tmpfs { options: value, dst: b"/x" });
            let made = make::<Error>(&request, None);
            let wanted = from_utf8(value).ok().and_then(tmpfs);
            match made {
                Ok(plan) => assert_eq!(Some(&plan.mounts[0].source), wanted.map(Source::Tmpfs).as_ref()),
                Err(error) => {
                    assert_eq!(wanted, None);
                    is_one_line(&error);
                }
            }
        }
    }
}

/// Parses digits and nothing else.
fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `TIME[,GRACE]`, both in nanoseconds.
fn timeout(text: &str) -> Option<[i128; 2]> {
    let (time, grace) = text.split_once(',').unwrap_or((text, "5"));
    let (time, grace) = (duration(time)?, duration(grace)?);
    (time > 0).then_some([time, grace])
}

/// Parses a time with a unit, like timeout(1), up to a year. Parts of a nanosecond are dropped.
fn duration(text: &str) -> Option<i128> {
    let unit = match text.bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86400,
        _ => 1,
    };
    let number = text.strip_suffix(['s', 'm', 'h', 'd']).unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = if whole.is_empty() && number.starts_with('.') { "0" } else { whole };
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let padded = alloc::format!("{fraction:0<9}");
    let nanoseconds =
        whole.parse::<i128>().ok()?.checked_mul(1_000_000_000)? + padded[..9].parse::<i128>().ok()?;
    let all = nanoseconds.checked_mul(unit)?;
    (all / 1_000_000_000 <= 366 * 86400).then_some(all)
}

/// A number with an optional unit.
fn amount(text: &str) -> Option<u64> {
    let unit = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 1 << 10,
        b'm' => 1 << 20,
        b'g' => 1 << 30,
        b't' => 1 << 40,
        _ => 1,
    };
    let number = if unit == 1 { text } else { &text[..text.len() - 1] };
    let number = number.parse::<u128>().ok().filter(|_| digits(number))?;
    number.checked_mul(unit)?.try_into().ok()
}

/// The known limits of setrlimit(2).
const LIMITS: [&str; 12] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nofile",
    "nproc",
    "rss",
    "sigpending",
    "stack",
];

fn limit(text: &str) -> Option<(&'static str, Option<u64>)> {
    let (name, value) = text.split_once('=')?;
    let name = LIMITS.into_iter().find(|known| *known == name)?;
    if value == "unlimited" { Some((name, None)) } else { amount(value).map(|amount| (name, Some(amount))) }
}

fn tmpfs(text: &str) -> Option<Tmpfs> {
    let mut all = Tmpfs { size: 64 << 20, inodes: 16384, mode: 0o1777 };
    if text == "-" {
        return Some(all);
    }
    for option in text.split(',') {
        let (name, value) = option.split_once('=')?;
        let amount = amount(value).filter(|amount| (1..=i64::MAX as u64).contains(amount));
        match name {
            "size" => all.size = amount?,
            "nr_inodes" => all.inodes = amount?,
            "mode" if digits(value) && value.len() <= 4 => {
                all.mode = u16::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o1777)?;
            }
            _ => return None,
        }
    }
    Some(all)
}
