//! What the rules look at: the modules of `src`, and in each file the paths that it names, its
//! functions, its words and its strings.
//!
//! Files are read as tokens (`proc-macro2`), so that comments and strings aren't taken for code, a
//! path in a macro counts too, and a test ends where its braces do. A full parser would see no paths
//! in macros.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Where a module stands, from the root of the crate: `net`, `tailnet`.
pub(crate) type Module = Vec<String>;

/// A path that code names.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) from: Module,
    pub(crate) to: Module,
    pub(crate) line: usize,
    /// In code that only tests have.
    pub(crate) is_test: bool,
}

/// A word or a string of a file.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
    pub(crate) is_test: bool,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

#[derive(Debug)]
pub(crate) struct File {
    /// From `src`.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) uses: Vec<Use>,
    pub(crate) functions: Vec<Function>,
    pub(crate) words: Vec<Word>,
    pub(crate) strings: Vec<Word>,
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<File>,
    modules: BTreeSet<Module>,
    /// What a name in a module stands for, if it was imported there.
    imports: BTreeMap<(Module, String), Module>,
}

impl Sources {
    /// Everything in a folder.
    pub(crate) fn read(src: &Path) -> Self {
        let mut texts = Vec::new();
        for path in super::files(src, "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            texts.push((path.strip_prefix(src).unwrap().to_owned(), text));
        }
        texts.sort();
        Self::of(texts)
    }

    /// Files with their texts.
    pub(crate) fn of(texts: Vec<(PathBuf, String)>) -> Self {
        let mut sources = Self {
            modules: texts.iter().map(|(path, _)| module_of(path)).collect(),
            ..Self::default()
        };
        let mut test_only = BTreeSet::new();
        for (path, text) in texts {
            let mut reader = Reader {
                modules: &mut sources.modules,
                imports: &mut sources.imports,
                test_only: &mut test_only,
                file: File {
                    path,
                    text,
                    uses: Vec::new(),
                    functions: Vec::new(),
                    words: Vec::new(),
                    strings: Vec::new(),
                },
            };
            reader.read();
            sources.files.push(reader.file);
        }
        for file in &mut sources.files {
            let module = module_of(&file.path);
            if (0..=module.len()).any(|length| test_only.contains(&module[..length])) {
                let all = file.words.iter_mut().chain(&mut file.strings);
                all.for_each(|word| word.is_test = true);
                file.uses.iter_mut().for_each(|one| one.is_test = true);
            }
        }
        sources
    }

    /// The module that a path leads to, through imports that stand on the way.
    pub(crate) fn target(&self, path: &[String]) -> Module {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| *depth == 0 || self.modules.contains(&path[..*depth]))
                .unwrap_or(0);
            let Some(name) = path.get(depth) else {
                return path;
            };
            let key = (path[..depth].to_vec(), name.clone());
            let Some(imported) = self.imports.get(&key).filter(|to| **to != path[..=depth]) else {
                return path[..depth].to_vec();
            };
            path = imported.iter().chain(&path[depth + 1..]).cloned().collect();
        }
        path
    }
}

/// The module of a file: `net/tailnet/mod.rs` is `net::tailnet`.
pub(crate) fn module_of(path: &Path) -> Module {
    let path = path.with_extension("");
    let mut parts: Module = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
        || path == Path::new("core")
    {
        parts.pop();
    }
    parts
}

struct Reader<'a> {
    modules: &'a mut BTreeSet<Module>,
    imports: &'a mut BTreeMap<(Module, String), Module>,
    test_only: &'a mut BTreeSet<Module>,
    file: File,
}

/// Where the reader stands.
#[derive(Clone)]
struct At {
    module: Module,
    is_test: bool,
}

impl Reader<'_> {
    fn read(&mut self) {
        let tokens: TokenStream = match self.file.text.parse() {
            Ok(tokens) => tokens,
            Err(error) => panic!("{}: {error}", self.file.path.display()),
        };
        let at = At {
            module: module_of(&self.file.path),
            is_test: false,
        };
        self.tokens(tokens, &at);
    }

    fn tokens(&mut self, tokens: TokenStream, at: &At) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut nth = 0;
        while nth < tokens.len() {
            let rest = &tokens[nth..];
            nth += match rest {
                [TokenTree::Punct(hash), TokenTree::Group(attribute), ..]
                    if hash.as_char() == '#' && is_for_tests(attribute) =>
                {
                    let length = item(&rest[2..]);
                    let of_tests = At {
                        is_test: true,
                        ..at.clone()
                    };
                    let item = rest[2..2 + length].iter().cloned().collect();
                    self.tokens(item, &of_tests);
                    2 + length
                }
                // A comment for documentation.
                [TokenTree::Punct(hash), TokenTree::Group(attribute), ..]
                    if hash.as_char() == '#'
                        && attribute.stream().to_string().starts_with("doc") =>
                {
                    2
                }
                // `pub(in crate::net)` imports nothing.
                [TokenTree::Ident(word), TokenTree::Group(group), ..]
                    if word == "pub" && group.delimiter() == Delimiter::Parenthesis =>
                {
                    2
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), body, ..] if word == "mod" => {
                    self.child(&name.to_string(), body, at);
                    3
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), ..] if word == "fn" => {
                    self.function(&name.to_string(), rest);
                    2
                }
                [TokenTree::Ident(word), ..] if word == "use" => {
                    let end = rest.iter().position(|token| is_punct(token, ';'));
                    let end = end.unwrap_or(rest.len());
                    self.tree(&rest[1..end], &[], true, at);
                    end
                }
                [TokenTree::Ident(word), colon, ..]
                    if is_punct(colon, ':')
                        && ["crate", "super"].iter().any(|start| word == start) =>
                {
                    self.tree(rest, &[], false, at)
                }
                [token, ..] => {
                    self.token(token, at);
                    1
                }
                [] => 1,
            };
        }
    }

    fn token(&mut self, token: &TokenTree, at: &At) {
        let word = |text: String| Word {
            text,
            line: token.span().start().line,
            is_test: at.is_test,
        };
        match token {
            TokenTree::Group(group) => self.tokens(group.stream(), at),
            TokenTree::Ident(name) => self.file.words.push(word(name.to_string())),
            TokenTree::Literal(literal) => self.file.strings.push(word(literal.to_string())),
            TokenTree::Punct(_) => {}
        }
    }

    fn child(&mut self, name: &str, body: &TokenTree, at: &At) {
        let mut module = at.module.clone();
        module.push(name.to_owned());
        if at.is_test {
            self.test_only.insert(module.clone());
        }
        if let TokenTree::Group(body) = body {
            self.modules.insert(module.clone());
            let is_test = at.is_test;
            self.tokens(body.stream(), &At { module, is_test });
        }
    }

    fn function(&mut self, name: &str, rest: &[TokenTree]) {
        let body = rest.iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
            token if is_punct(token, ';') => Some(None),
            _ => None,
        });
        if let Some(Some(body)) = body {
            let (first, last) = (rest[0].span().start().line, body.span_close().end().line);
            self.file.functions.push(Function {
                name: name.to_owned(),
                line: first,
                lines: last - first + 1,
            });
        }
    }

    /// Reads a path, or the tree of them after `use`; returns how many tokens it took.
    fn tree(&mut self, tokens: &[TokenTree], before: &[String], is_use: bool, at: &At) -> usize {
        let mut path = before.to_vec();
        let mut nth = 0;
        loop {
            match &tokens[nth..] {
                [TokenTree::Ident(word), rest @ ..] => {
                    let line = word.span().start().line;
                    match word.to_string().as_str() {
                        "crate" => path = vec!["crate".to_owned()],
                        "super" if path.is_empty() => {
                            path.clone_from(&at.module);
                            path.insert(0, "crate".to_owned());
                            path.pop();
                        }
                        "super" => drop(path.pop()),
                        "self" if path.is_empty() => {
                            path.clone_from(&at.module);
                            path.insert(0, "crate".to_owned());
                        }
                        "self" => {}
                        name => path.push(name.to_owned()),
                    }
                    nth += 1;
                    if rest.len() >= 2 && is_punct(&rest[0], ':') && is_punct(&rest[1], ':') {
                        nth += 2;
                        // A call with type arguments: `crate::a::b::<C>()`.
                        if tokens.get(nth).is_some_and(|next| is_punct(next, '<')) {
                            self.name(&path, line, None, is_use, at);
                            return nth;
                        }
                        continue;
                    }
                    let alias = match rest {
                        [TokenTree::Ident(word), TokenTree::Ident(name), ..]
                            if word == "as" && is_use =>
                        {
                            nth += 2;
                            Some(name.to_string())
                        }
                        _ => None,
                    };
                    self.name(&path, line, alias, is_use, at);
                }
                [TokenTree::Group(group), ..] if is_use => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for part in inner.split(|token| is_punct(token, ',')) {
                        if !part.is_empty() {
                            self.tree(part, &path, true, at);
                        }
                    }
                    nth += 1;
                }
                // All of a module.
                [star, ..] if is_punct(star, '*') => {
                    let line = star.span().start().line;
                    self.name(&path, line, None, false, at);
                    nth += 1;
                }
                _ => {}
            }
            return nth.max(1);
        }
    }

    fn name(&mut self, path: &[String], line: usize, alias: Option<String>, is_use: bool, at: &At) {
        let to = match path {
            [first, rest @ ..] if first == "crate" => rest.to_vec(),
            // A child of this module, or another crate.
            [first, ..] if is_use => {
                let words = path.iter().map(|text| Word {
                    text: text.clone(),
                    line,
                    is_test: at.is_test,
                });
                self.file.words.extend(words);
                let mut child = at.module.clone();
                child.push(first.clone());
                if !self.modules.contains(&child) {
                    return;
                }
                at.module.iter().chain(path).cloned().collect()
            }
            _ => return,
        };
        if is_use && let Some(name) = alias.or(to.last().cloned()) {
            self.imports.insert((at.module.clone(), name), to.clone());
        }
        self.file.uses.push(Use {
            from: at.module.clone(),
            to,
            line,
            is_test: at.is_test,
        });
    }
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

/// Whether it is `#[cfg(test)]`, or says likewise.
fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string();
    let is = |word: &str| {
        text.split(|char: char| !char.is_ascii_alphanumeric())
            .any(|part| part == word)
    };
    text.starts_with("cfg") && !text.starts_with("cfg_attr") && is("test") && !is("not")
}

/// How many tokens belong to the item, the statement or the field that begins here.
fn item(tokens: &[TokenTree]) -> usize {
    const ITEMS: [&str; 15] = [
        "pub", "fn", "impl", "mod", "struct", "enum", "const", "static", "type", "trait", "use",
        "async", "unsafe", "extern", "let",
    ];
    let first = tokens.iter().find_map(|token| match token {
        TokenTree::Ident(word) => Some(word.to_string()),
        _ => None,
    });
    let first = first.unwrap_or_default();
    let is_item = ITEMS.contains(&first.as_str());
    let is_import = tokens
        .iter()
        .take(3)
        .any(|token| matches!(token, TokenTree::Ident(word) if word == "use"));
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_import,
        token => is_punct(token, ';') || (!is_item && is_punct(token, ',')),
    });
    end.map_or(tokens.len(), |end| end + 1)
}
