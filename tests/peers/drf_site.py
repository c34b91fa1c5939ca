"""A small Django site: accounts and children as stock Django REST framework views, with OAuth2 tokens.

    python drf_site.py DATABASE

Client id and secret are in the environment. It prints its port, and serves until its standard input ends. Nothing in
it knows of the test: a `note` is a field like any other.
"""

import json
import os
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings

sys.modules["accounts"] = sys.modules["__main__"]  # this file is the site's one application

settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="urls_of_the_site",
    USE_TZ=True,
    TIME_ZONE="America/New_York",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": sys.argv[1],
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
            },
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "oauth2_provider",
        "rest_framework",
        "django_filters",
        "accounts",
    ],
    OAUTH2_PROVIDER={"ACCESS_TOKEN_EXPIRE_SECONDS": 20, "SCOPES": {"accounts": "Accounts"}},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["oauth2_provider.contrib.rest_framework.OAuth2Authentication"],
        "DEFAULT_PERMISSION_CLASSES": ["oauth2_provider.contrib.rest_framework.TokenHasScope"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
        "PAGE_SIZE": 10,
    },
    LOGGING_CONFIG=None,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.urls import include, path  # noqa: E402
from drf_link_header_pagination import LinkHeaderPagination  # noqa: E402
from rest_framework import generics, routers, serializers, status, viewsets  # noqa: E402
from rest_framework.generics import get_object_or_404  # noqa: E402
from rest_framework.response import Response  # noqa: E402


class Account(models.Model):
    email = models.EmailField(unique=True, null=True, default=None)
    user_name = models.CharField(max_length=200, unique=True, null=True, default=None)
    external_id = models.CharField(max_length=200, unique=True, null=True, default=None)
    given_name = models.CharField(max_length=200, blank=True, default="")
    birth_date = models.DateField(null=True, default=None)
    nickname = models.CharField(max_length=200, blank=True, default="")
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "accounts"
        ordering = ["id"]


class OfAccount(models.Model):
    """What an account has several of, without a key of its own."""

    account = models.ForeignKey(Account, models.CASCADE)
    given_name = models.CharField(max_length=200)
    birth_date = models.DateField(null=True, default=None)
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
        app_label = "accounts"
        ordering = ["id"]  # the newest on the last page


class Child(OfAccount):
    pass


class Guardian(OfAccount):
    pass


class Contact(OfAccount):
    pass


class AccountSerializer(serializers.ModelSerializer):
    class Meta:
        model = Account
        fields = "__all__"


class Serializer(serializers.ModelSerializer):
    class Meta:
        exclude = ["account"]


def serializer_of(its):
    class OfIts(Serializer):
        class Meta(Serializer.Meta):
            model = its

    return OfIts


class Accounts(viewsets.ModelViewSet):
    queryset = Account.objects.all()
    serializer_class = AccountSerializer
    filterset_fields = ["email", "user_name", "external_id"]
    required_scopes = ["accounts"]


class Listed(generics.ListCreateAPIView):
    """The children: the usual pages, with `next` in the answer."""

    serializer_class = serializer_of(Child)
    required_scopes = ["accounts"]

    def get_queryset(self):
        account = get_object_or_404(Account, pk=self.kwargs["pk"])
        return self.serializer_class.Meta.model.objects.filter(account=account)

    def perform_create(self, serializer):
        serializer.save(account=get_object_or_404(Account, pk=self.kwargs["pk"]))


class Guardians(Listed):
    """All at once, a bare array."""

    serializer_class = serializer_of(Guardian)
    pagination_class = None


class Contacts(Listed):
    """A bare array in pages, the next one in the `Link` header."""

    serializer_class = serializer_of(Contact)
    pagination_class = LinkHeaderPagination


class ByExternalId(generics.RetrieveUpdateAPIView):
    """A PUT that makes or replaces, as the framework's own documentation of `PUT as create` shows it."""

    queryset = Account.objects.all()
    serializer_class = AccountSerializer
    lookup_field = "external_id"
    required_scopes = ["accounts"]

    def update(self, request, *args, **kwargs):
        there = Account.objects.filter(external_id=kwargs["external_id"]).first()
        data = {**request.data, "external_id": kwargs["external_id"]}
        serializer = self.get_serializer(there, data=data, partial=kwargs.get("partial", False))
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(serializer.data, status=status.HTTP_200_OK if there else status.HTTP_201_CREATED)


def urls():
    router = routers.DefaultRouter()
    router.register("accounts", Accounts)
    module = type(sys)("urls_of_the_site")
    module.urlpatterns = [
        path("api/", include(router.urls)),
        path("api/accounts/<int:pk>/children/", Listed.as_view()),
        path("api/accounts/<int:pk>/guardians/", Guardians.as_view()),
        path("api/accounts/<int:pk>/contacts/", Contacts.as_view()),
        path("api/external/<path:external_id>", ByExternalId.as_view()),
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    ]
    sys.modules["urls_of_the_site"] = module


def prepare():
    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        for model in (Account, Child, Guardian, Contact):
            editor.create_model(model)
    from oauth2_provider.models import Application

    Application.objects.create(
        name="partner",
        client_id=os.environ["PEERS_CLIENT_ID"],
        client_secret=os.environ["PEERS_CLIENT_SECRET"],
        client_type="confidential",
        authorization_grant_type="client-credentials",
    )
    connection.close()


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        super().server_bind()
        self.server_name = "127.0.0.1"  # no name is looked up

    def handle_error(self, request, client_address):
        pass


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


def main():
    urls()
    prepare()
    server = Server(("127.0.0.1", 0), Quiet)
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
    os._exit(0)
