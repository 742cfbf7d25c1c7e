//! The users that a caller may register as.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::uri::SipUri;

/// Stands for the authenticated user in a template.
const USER: &str = "{user}";

/// The start of a permission that admits one more user in To of a REGISTER.
pub(crate) const REGISTER_PERMISSION: &str = "register=";

/// Templates of the user in To of a REGISTER: 1 to 8 texts, in order and without duplicates.
///
/// Each has `{user}` once, which stands for the authenticated user, and up to 64 bytes in all. The
/// rest are letters, digits and `+-_.*#!~`. To must name one of these users. The default is `{user}`
/// alone: users register themselves. With `+4930123{user}`, the user `45` registers `+493012345`.
///
/// Several templates can name one user for two callers: with `{user}` and `1{user}`, both `123` and
/// `23` may register `123`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RegisterAs {
    templates: Cow<'static, [Cow<'static, str>]>,
}

/// An invalid list of templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterAsError {
    /// The list is empty.
    #[error("at least one template is needed")]
    Empty,
    /// The list has too many templates.
    #[error("at most {max} templates can be set", max = RegisterAs::MAX_TEMPLATES)]
    TooMany,
    /// A text is not a template, shortened to 40 characters.
    #[error(
        "expected a template of at most {max} bytes with {USER} once and letters, digits and \
         +-_.*#!~, found `{0}`",
        max = RegisterAs::MAX_LEN
    )]
    NotATemplate(String),
    /// The list has a template twice.
    #[error("the template `{0}` is repeated")]
    Twice(String),
}

/// The texts before and after `{user}`.
fn split(template: &str) -> Option<(&str, &str)> {
    template.split_once(USER)
}

/// Whether all of `text` may stand in To beside the user.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.*#!~".contains(&byte))
}

impl RegisterAs {
    /// `{user}`: users register themselves.
    pub const DEFAULT: Self = Self { templates: Cow::Borrowed(&[Cow::Borrowed(USER)]) };

    /// The maximum number of templates.
    pub const MAX_TEMPLATES: usize = 8;

    /// The maximum length of a template in bytes.
    pub const MAX_LEN: usize = 64;

    /// Creates the list of these templates.
    ///
    /// # Errors
    ///
    /// [`RegisterAsError`] for the first text that is not a template, or if there are none or too
    /// many.
    pub fn new(
        templates: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, RegisterAsError> {
        let mut all = Vec::<Cow<'static, str>>::new();
        for template in templates {
            let template = template.as_ref();
            Self::check_template(template)?;
            if all.iter().any(|other| other == template) {
                return Err(RegisterAsError::Twice(template.to_owned()));
            }
            if all.len() == Self::MAX_TEMPLATES {
                return Err(RegisterAsError::TooMany);
            }
            all.push(Cow::Owned(template.to_owned()));
        }
        match all.as_slice() {
            [] => Err(RegisterAsError::Empty),
            // most policies keep the default, which needs no memory
            [only] if only == USER => Ok(Self::DEFAULT),
            _ => Ok(Self { templates: all.into() }),
        }
    }

    /// Whether a list can have `template`.
    pub(super) fn check_template(template: &str) -> Result<(), RegisterAsError> {
        let is_sound = template.len() <= Self::MAX_LEN
            && split(template).is_some_and(|(before, after)| is_plain(before) && is_plain(after));
        match is_sound {
            true => Ok(()),
            false => Err(RegisterAsError::NotATemplate(template.chars().take(40).collect())),
        }
    }

    /// The templates in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(AsRef::as_ref)
    }

    /// Whether the user of `uri` is one of the templates with `name` put in. Does not allocate.
    pub(crate) fn names(&self, uri: &SipUri<'_>, name: &str) -> bool {
        self.iter().filter_map(split).any(|(before, after)| uri.user_is_all([before, name, after]))
    }
}

/// [`RegisterAs::DEFAULT`].
impl Default for RegisterAs {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reads a list with commas. Spaces are an error: in a form, each is an unescaped `+`, the start of a
/// number.
impl FromStr for RegisterAs {
    type Err = RegisterAsError;

    fn from_str(text: &str) -> Result<Self, RegisterAsError> {
        match text {
            "" => Err(RegisterAsError::Empty),
            text => Self::new(text.split(',')),
        }
    }
}

/// Writes the templates with commas.
impl fmt::Display for RegisterAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, template) in self.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            f.write_str(template)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RegisterAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_name_users() {
        let list = RegisterAs::new(["+4930123{user}", "x{user}.y"]).unwrap();
        for (uri, name, names) in [
            ("sip:+493012345@h", "45", true),
            ("sip:%2b493012345@h", "45", true),
            ("sip:x45.y@h", "45", true),
            ("sip:45@h", "45", false),
            ("sip:+4930123@h", "45", false),
            ("sip:+4930123454@h", "45", false),
            ("sip:x45.yy@h", "45", false),
            ("sip:x.y@h", "45", false),
            ("sip:h", "45", false),
            ("sip:+493012345;x=y@h", "45", false),
            ("sip:X45.y@h", "45", false),
        ] {
            assert_eq!(list.names(&SipUri::parse(uri).unwrap(), name), names, "{uri}");
        }
        let alone = RegisterAs::default();
        assert!(alone.names(&SipUri::parse("sip:%61lice@h").unwrap(), "alice"));
        assert!(!alone.names(&SipUri::parse("sip:user@h").unwrap(), "alice"));
    }

    #[test]
    fn texts_that_are_no_templates_are_refused() {
        let long = "1".repeat(59) + USER;
        for text in [
            "",
            "user",
            "{user",
            "{user}{user}",
            "{USER}",
            "{ user }",
            "1 {user}",
            "{user}@h",
            "{user};x",
            "%31{user}",
            "é{user}",
            "{{user}}",
            "{user}\r\n",
            "{user}:x",
            &long,
        ] {
            let error = RegisterAs::new([text]).unwrap_err();
            assert!(matches!(error, RegisterAsError::NotATemplate(_)), "{text:?}: {error}");
        }
        assert!(RegisterAs::new([&long[1..]]).is_ok());
        assert_eq!(RegisterAs::new([""; 0]), Err(RegisterAsError::Empty));
        for text in ["", " ", "{user},", ",", " 49{user}", "{user}, 49{user}", "{user} "] {
            assert!(text.parse::<RegisterAs>().is_err(), "{text:?}");
        }
        let twice = RegisterAs::new(["{user}", "1{user}", "{user}"]);
        assert_eq!(twice, Err(RegisterAsError::Twice(USER.to_owned())));
        let many: Vec<_> = (0..9).map(|n| format!("{n}{USER}")).collect();
        assert_eq!(RegisterAs::new(&many), Err(RegisterAsError::TooMany));
        assert_eq!(RegisterAs::new(&many[1..]).unwrap().iter().count(), 8);
    }

    #[test]
    fn the_default_takes_no_memory() {
        let list = RegisterAs::new([USER]).unwrap();
        assert_eq!(list, RegisterAs::DEFAULT);
        assert!(matches!(list.templates, Cow::Borrowed(_)));
        assert_eq!("{user}".parse(), Ok(list));
    }

    proptest! {
        /// Compares with a text that is put together.
        #[test]
        fn does_what_texts_do(
            parts in prop::collection::vec(("[a+]{0,2}", "[a.]{0,2}"), 1..4),
            name in "[a+]{1,3}",
            user in "[a+.]{1,5}",
        ) {
            let templates = parts.iter().map(|(before, after)| format!("{before}{USER}{after}"));
            let mut templates: Vec<_> = templates.collect();
            templates.sort();
            templates.dedup();
            let list = RegisterAs::new(&templates).unwrap();
            let uri = format!("sip:{user}@h");
            let expected = templates.iter().any(|it| it.replace(USER, &name) == user);
            prop_assert_eq!(list.names(&SipUri::parse(&uri).unwrap(), &name), expected);
            prop_assert_eq!(list.to_string().parse::<RegisterAs>().unwrap(), list);
        }
    }
}
