"""A Flask site with a search page: ``flask --app examples/flask_site.py run``, then /search?q=form."""

import os

from flask import Flask, render_template_string, request

from clickmw import ClickMW

app = Flask(__name__, instance_path=os.path.abspath(os.environ.get("SITE_FOLDER", "instance")))
app.secret_key = os.environ.get("SECRET_KEY", "for trying it out, and not for the world")
app.config["CLICKMW_ADMIN_PASSWORD"] = os.environ.get("ADMIN_PASSWORD", "for trying it out")
clicks = ClickMW(app)

PAGES = {"Tax form": "/pages/1", "Form of address": "https://example.org/2", "Map": "/pages/3"}
RESULTS = """<!doctype html><title>Search</title><body>
<form><input name="q" value="{{ query }}"> <button>Search</button></form>
<ol data-click-module="WEB" data-click-total="{{ found|length }}">
{% for title, url in found.items() %}<li><a data-click href="{{ url }}">{{ title }}</a></li>
{% endfor %}</ol></body>"""


@app.get("/search")
def search() -> str:
    query = request.args.get("q", "")
    found = {title: url for title, url in PAGES.items() if query.lower() in title.lower()}
    return render_template_string(RESULTS, query=query, found=found)


@app.get("/pages/<int:number>")
def page(number: int) -> str:
    return f"<!doctype html><title>Page {number}</title><p>This is page {number}."
