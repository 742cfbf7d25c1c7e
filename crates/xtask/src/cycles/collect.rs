//! The names that the items of a module define and use.

use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, Macro, Meta, Path, TraitItem, UseTree, Visibility};

/// A path in the source, such as `crate::digest::Nonce`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NamedPath {
    /// The names between the `::`. There is at least one.
    pub(crate) segments: Vec<String>,
    /// The line of the first name.
    pub(crate) line: usize,
}

impl NamedPath {
    /// The path as in the source.
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// A name that a `use` declaration brings into a module.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The name in the module; `_` if it has none.
    pub(crate) name: String,
    /// The path that it stands for.
    pub(crate) path: NamedPath,
}

/// The names of one module, without those of the modules in it.
#[derive(Default)]
pub(crate) struct Names {
    /// Items that the module defines.
    pub(crate) items: HashSet<String>,
    /// Names that it imports one by one.
    pub(crate) imports: Vec<Import>,
    /// Modules or enums from which it imports all names.
    pub(crate) globs: Vec<NamedPath>,
    /// Paths in its code.
    pub(crate) paths: Vec<NamedPath>,
}

impl Names {
    /// Reads the items of a module. Leaves out modules, and items that are compiled for tests only.
    pub(crate) fn of(items: &[Item]) -> Self {
        let mut names = Self::default();
        for item in items {
            if !is_for_tests(attributes(item)) {
                names.items.extend(defined(item));
            }
            names.visit_item(item);
        }
        let mut seen = HashSet::new();
        // the first line of each path is enough
        names.paths.retain(|path| seen.insert(path.segments.clone()));
        names
    }

    /// Reads a `use` tree. `before` holds the names that lead to it.
    fn read_use(&mut self, tree: &UseTree, before: Option<NamedPath>) {
        let joined = |ident: &syn::Ident| {
            let mut path = before.clone().unwrap_or_else(|| NamedPath {
                segments: Vec::new(),
                line: ident.span().start().line,
            });
            path.segments.push(plain(ident));
            path
        };
        match tree {
            UseTree::Path(path) => self.read_use(&path.tree, Some(joined(&path.ident))),
            UseTree::Name(name) => self.import(plain(&name.ident), joined(&name.ident)),
            UseTree::Rename(rename) => self.import(plain(&rename.rename), joined(&rename.ident)),
            UseTree::Glob(_) => self.globs.extend(before),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.read_use(tree, before.clone()));
            }
        }
    }

    /// Adds an import. In `use a::b::{self}`, the last name is `b`.
    fn import(&mut self, mut name: String, mut path: NamedPath) {
        if path.segments.len() > 1 && path.segments.last().is_some_and(|last| last == "self") {
            path.segments.pop();
            if name == "self" {
                name = path.segments.last().cloned().unwrap_or_default();
            }
        }
        self.imports.push(Import { name, path });
    }

    /// Finds the paths in the tokens of a macro, which have no syntax of their own.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        let mut after_colons = false;
        while let Some((token, after)) = rest.split_first() {
            match token {
                TokenTree::Ident(first) if !after_colons => {
                    let mut path =
                        NamedPath { segments: vec![plain(first)], line: first.span().start().line };
                    rest = after;
                    while let [a, b, TokenTree::Ident(next), after @ ..] = rest
                        && is_colon(a)
                        && is_colon(b)
                    {
                        path.segments.push(plain(next));
                        rest = after;
                    }
                    if path.segments.len() > 1 {
                        self.paths.push(path);
                    }
                    continue;
                }
                TokenTree::Group(group) => self.read_tokens(group.stream()),
                _ => {}
            }
            after_colons = is_colon(token);
            rest = after;
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => item.attrs.as_slice(),
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes = match item {
            TraitItem::Const(item) => item.attrs.as_slice(),
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_for_tests(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    /// A module has names of its own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.read_use(&item.tree, None);
        }
    }

    /// `pub(in crate::a)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments = path.segments.iter().map(|segment| plain(&segment.ident)).collect();
            self.paths.push(NamedPath { segments, line: first.ident.span().start().line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.read_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Whether attributes leave an item out of every build but those of tests.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
        }
        _ => false,
    })
}

/// Whether a condition of `cfg` holds in tests only.
fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => {
            let parser = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
            let Ok(parts) = list.parse_args_with(parser) else { return false };
            let mut parts = parts.iter();
            if list.path.is_ident("all") {
                parts.any(needs_test)
            } else {
                list.path.is_ident("any") && parts.len() > 0 && parts.all(needs_test)
            }
        }
        Meta::NameValue(_) => false,
    }
}

/// The attributes of an item.
pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines, apart from modules and imports.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(plain(ident))
}

/// An identifier without the `r#` of a raw one.
pub(crate) fn plain(ident: &syn::Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}
