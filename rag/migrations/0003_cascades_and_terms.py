"""What Django's models cannot say: cascades done by the database, an index of words apart for each repository."""

from django.db import migrations

CASCADES = [("rag_file", "repository"), ("rag_term", "repository"), ("rag_chunk", "file"), ("rag_vector", "chunk")]

# A posting list for each repository's own word, so that nobody's search walks through another's. The words have been
# through rag.search.words: letters and digits only.
TERMS = """
CREATE FUNCTION rag_terms(repository bigint, symbol text, path text, content text) RETURNS tsvector
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT COALESCE(string_agg(
        '''' || repository || ':' || lexeme || ''':'
            || (SELECT string_agg(position || weight, ',') FROM unnest(positions, weights) AS at (position, weight)),
        ' '
    ), '')::tsvector
    FROM unnest(
        setweight(to_tsvector('english', symbol), 'A')
        || setweight(to_tsvector('english', path), 'B')
        || to_tsvector('english', content)
    )
$$
"""


def _cascade(table: str, parent: str) -> migrations.RunSQL:
    name = f"{table}_{parent}_fk"
    return migrations.RunSQL(
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({parent}_id) REFERENCES rag_{parent} ON DELETE CASCADE",
        f"ALTER TABLE {table} DROP CONSTRAINT {name}",
    )


class Migration(migrations.Migration):
    dependencies = [("rag", "0002_code_search")]
    operations = [
        *(_cascade(table, parent) for table, parent in CASCADES),
        migrations.RunSQL(TERMS, "DROP FUNCTION rag_terms"),
    ]
