FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o keyhole ./cmd/keyhole

# The program is all that it needs: it resolves names without libc, keeps no
# certificates and writes no files but the access log that it is told to.
FROM scratch
COPY --from=build /src/keyhole /keyhole
# No name: there is no /etc/passwd. The number is the one that distroless images
# call nonroot.
USER 65532:65532
EXPOSE 443
ENTRYPOINT ["/keyhole"]
CMD ["run", "--config", "/etc/keyhole/keyhole.yaml"]
