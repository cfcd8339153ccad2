"""The languages that have a grammar."""

# To add a language, add its `tree-sitter-…` wheel to requirements.in and an entry to GRAMMARS. Files of other
# languages are split as plain text.

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from tree_sitter import Language, Node, Parser

TEXT = "text"


@dataclass(frozen=True, slots=True)
class Grammar:
    """A language's grammar and the nodes that become chunks."""

    module: str
    suffixes: str
    definitions: str = ""
    wrappers: str = ""
    function: str = "language"


_SCRIPT = (
    "function_declaration generator_function_declaration class_declaration method_definition variable_declarator "
    "interface_declaration type_alias_declaration enum_declaration abstract_class_declaration internal_module"
)
_EXPORTS = "export_statement lexical_declaration variable_declaration"
_C = "function_definition struct_specifier union_specifier enum_specifier type_definition"
_OBJECTS = "class_declaration interface_declaration enum_declaration record_declaration method_declaration"
GRAMMARS = {
    "bash": Grammar("tree_sitter_bash", "sh bash zsh", "function_definition"),
    "c": Grammar("tree_sitter_c", "c h", _C),
    "csharp": Grammar(
        "tree_sitter_c_sharp",
        "cs",
        f"{_OBJECTS} struct_declaration constructor_declaration property_declaration local_function_statement",
    ),
    "cpp": Grammar(
        "tree_sitter_cpp",
        "cpp cc cxx hpp hh hxx ipp",
        f"{_C} class_specifier namespace_definition",
        "template_declaration",
    ),
    "css": Grammar("tree_sitter_css", "css"),
    "go": Grammar("tree_sitter_go", "go", "function_declaration method_declaration type_declaration"),
    "html": Grammar("tree_sitter_html", "html htm"),
    "java": Grammar("tree_sitter_java", "java", f"{_OBJECTS} constructor_declaration annotation_type_declaration"),
    "javascript": Grammar("tree_sitter_javascript", "js mjs cjs jsx", _SCRIPT, _EXPORTS),
    "json": Grammar("tree_sitter_json", "json"),
    "markdown": Grammar("tree_sitter_markdown", "md markdown ipynb", "section"),
    "php": Grammar(
        "tree_sitter_php",
        "php",
        "function_definition method_declaration class_declaration interface_declaration trait_declaration "
        "enum_declaration",
        function="language_php",
    ),
    "python": Grammar("tree_sitter_python", "py pyi", "function_definition class_definition", "decorated_definition"),
    "ruby": Grammar("tree_sitter_ruby", "rb rake", "method singleton_method class module"),
    "rust": Grammar(
        "tree_sitter_rust", "rs", "function_item struct_item enum_item trait_item impl_item mod_item macro_definition"
    ),
    "sql": Grammar("tree_sitter_sql", "sql", "create_table create_view create_function create_index", "statement"),
    "tsx": Grammar("tree_sitter_typescript", "tsx", _SCRIPT, _EXPORTS, "language_tsx"),
    "typescript": Grammar("tree_sitter_typescript", "ts mts cts", _SCRIPT, _EXPORTS, "language_typescript"),
    "yaml": Grammar("tree_sitter_yaml", "yaml yml"),
}
_BY_SUFFIX = {suffix: name for name, grammar in GRAMMARS.items() for suffix in grammar.suffixes.split()}


def language_of(path: str) -> str:
    """Return the language of a file by its suffix; TEXT if GRAMMARS has none."""
    return _BY_SUFFIX.get(path.rsplit("/", 1)[-1].rpartition(".")[2].lower(), TEXT)


def has_grammar(language: str) -> bool:
    """Return whether files of a language are split by syntax instead of as text."""
    return language in GRAMMARS


def load_grammar(language: str) -> object:
    """Return the grammar in the form that splitters and parsers take."""
    grammar = GRAMMARS[language]
    return getattr(import_module(grammar.module), grammar.function)()


def parse(language: str, source: bytes) -> Node:
    """Return the root of the syntax tree; invalid source gives error nodes."""
    return Parser(_language(language)).parse(source).root_node


@cache
def _language(name: str) -> Language:
    return Language(load_grammar(name))
